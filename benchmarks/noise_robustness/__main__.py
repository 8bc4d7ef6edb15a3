"""`python -m benchmarks.noise_robustness`."""

from __future__ import annotations

import os
import sys

from benchmarks.noise_robustness.cli import parse
from dspt.kit.cpus import available_cpus, set_thread_defaults


def main() -> int:
    """Exit status: 0, 1 where a cell failed, 2 for settings or data at fault, 130 on Ctrl-C."""
    options = parse(sys.argv[1:])
    all_cpus = None if "OMP_NUM_THREADS" in os.environ else available_cpus()
    # torch reads the variables when it is imported, here and in the processes that run cells
    set_thread_defaults(threads=max(1, available_cpus() // options.jobs))
    from benchmarks.noise_robustness.run import run

    return run(options, encoding_threads=all_cpus)


if __name__ == "__main__":
    sys.exit(main())
