"""`python -m benchmarks.fault_drills`."""

from __future__ import annotations

import sys

from benchmarks.fault_drills.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
