"""Suppress the warnings of Pillow and zipfile about hostile files."""

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
    """Ignore warnings of Pillow and zipfile in all threads until the last user leaves the context.

    They concern odd EXIF, large images and odd palettes: harmless here, or checked by our own
    rules. Under `-W error` they would make a good image fail. Warning filters are global to the
    process and `warnings.catch_warnings` is not thread-safe, so users are counted: the first sets
    the filter, the last restores it.
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
