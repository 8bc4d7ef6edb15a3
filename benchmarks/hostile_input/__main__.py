"""`python -m benchmarks.hostile_input`."""

from __future__ import annotations

import sys

from benchmarks.hostile_input.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
