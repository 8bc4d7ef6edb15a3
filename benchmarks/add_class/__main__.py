"""`python -m benchmarks.add_class`."""

import sys

from benchmarks.add_class.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
