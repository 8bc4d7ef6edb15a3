"""Before any test imports torch: as many threads as this pytest process may keep busy."""

import os

from dspt.kit.cpus import available_cpus, set_thread_defaults

processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
set_thread_defaults(threads=max(1, available_cpus() // processes))


def pytest_xdist_auto_num_workers() -> int:
    """One more pytest process than CPUs: tests that wait for others to start leave some idle."""
    return available_cpus() + 1
