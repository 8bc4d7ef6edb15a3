"""Keeps the warnings of Pillow and zipfile on hostile files away from the caller."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_users = 0
_restore = ExitStack()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Ignore warnings that Pillow and zipfile issue, in every thread, until the last user leaves.

    What they warn of (odd EXIF, large images, odd palettes) is either harmless here or checked by
    our own rules, and under `-W error` it would turn a good image into a bad one. Filters are
    global to the process and `warnings.catch_warnings` alone is not safe from threads, so the
    users are counted: the first one sets the filter, the last one restores.
    """
    global _users
    with _lock:
        if _users == 0:
            _restore.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"(PIL|zipfile)\b")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _restore.close()
