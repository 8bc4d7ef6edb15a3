"""`python -m benchmarks.noise_robustness`."""

import sys

from benchmarks.noise_robustness.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
