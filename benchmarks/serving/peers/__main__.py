"""`python -m benchmarks.serving.peers`."""

import sys

from benchmarks.serving.peers.benchmark import BENCHMARK
from benchmarks.skeleton.program import run

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
