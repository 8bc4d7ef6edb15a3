"""Before any test imports torch: as many threads as this pytest process may keep busy."""

import os

from dspt.cpus import available_cpus, set_thread_defaults

processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
set_thread_defaults(threads=max(1, available_cpus() // processes))
