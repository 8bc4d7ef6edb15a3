"""Check a folder of this machine without a write."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path


def check_writable(folder: Path) -> None:
    """Raise OSError unless files can be stored in `folder`, which may not exist yet."""
    while not folder.exists():  # it is created with the first file
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    if not shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
