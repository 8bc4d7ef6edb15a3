"""Set up each pytest process before any test imports torch."""

import os
import tempfile
from pathlib import Path

from dspt.kit.cpus import available_cpus, set_thread_defaults
from tests import guard

# As many threads as this process may keep busy.
processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
set_thread_defaults(threads=max(1, available_cpus() // processes))


def _guard_this_process() -> None:
    """Give this process a temporary folder of its own and a guard that cleans up after it.

    `tmp_path` stays where pytest keeps the folders of the last three runs.
    """
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix=os.environ.get("PYTEST_XDIST_WORKER", "tests") + "-")
    Path(folder).chmod(0o755)  # PostgreSQL runs as another user than root
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    guard.start(folder)


_guard_this_process()


def pytest_xdist_auto_num_workers() -> int:
    """One more pytest process than CPUs: tests that wait for others to start leave some idle."""
    return available_cpus() + 1
