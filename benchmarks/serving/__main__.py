"""`python -m benchmarks.serving`."""

from __future__ import annotations

import sys

from benchmarks.serving.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
