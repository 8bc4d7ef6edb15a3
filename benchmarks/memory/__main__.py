"""`python -m benchmarks.memory`."""

from __future__ import annotations

import argparse
import sys

from benchmarks.skeleton.machine import PACKAGES
from benchmarks.skeleton.options import add, add_common, positive
from benchmarks.skeleton.program import Benchmark, run

_DESCRIPTION = """\
Memory of all processes of `dspt serve`, in MiB: idle, after jobs, when the worker has rested,
after predictions, and the most during a job beside predictions. A page that several of them share
counts once, in equal parts; a page of a library counts fully even if other programs use it too. A
backbone ARCHITECTURE/random, such as ViT-B-32/random, has random weights. Needs Linux. Writes
memory.json and .md to the folder --out."""


def _options(parser: argparse.ArgumentParser) -> None:
    add_common(parser, "backbone")
    add(parser, "--images", 64, "photos to classify, 8 per request", type=positive, metavar="N")


BENCHMARK = Benchmark(
    "memory",
    _DESCRIPTION,
    _options,
    packages=(*PACKAGES, "openvino", "celery"),
    needs=("psutil",),
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
