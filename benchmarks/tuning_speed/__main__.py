"""`python -m benchmarks.tuning_speed`."""

import sys

from benchmarks.tuning_speed.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
