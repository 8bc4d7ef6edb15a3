"""`python -m benchmarks.image_engines`."""

import sys

from benchmarks.image_engines.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
