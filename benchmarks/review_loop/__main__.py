"""`python -m benchmarks.review_loop`."""

import sys

from benchmarks.review_loop.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
