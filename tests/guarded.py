"""Guards the pytest process that imports it. `-p tests.guarded` does that without torch."""

from __future__ import annotations

import os
import tempfile

from tests import guard

# `tmp_path` stays where pytest keeps the folders of the last three runs.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
guard.guard_this_process(os.environ.get("PYTEST_XDIST_WORKER", "tests"))
