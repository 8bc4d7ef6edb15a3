"""`python -m benchmarks.audit_quality`."""

import sys

from benchmarks.audit_quality.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
