"""`python -m benchmarks.add_class`."""

import sys
from argparse import ArgumentParser
from typing import get_args

from benchmarks.skeleton.options import add, add_common, positive
from benchmarks.skeleton.program import Benchmark, run
from dspt.labels.inject import NoiseKind

_DESCRIPTION = """\
Accuracy of a class that is added to a tuned model by its name, without photos. Holds out some
classes of each data set, one at a time: tunes a classifier on the other classes, adds the held-out
class by name, and measures on clean test images of all classes. Compares with zero-shot and with a
classifier tuned with photos of the class. Writes accuracy on the old classes and on the new one to
the folder --out as add_class.json and .md. After Ctrl-C the same command resumes."""


def _options(parser: ArgumentParser) -> None:
    add_common(parser, "data", "shots", rates=[0.0, 0.25, 0.5], seeds=[1, 2])
    add(parser, "--kind", "symmetric", "of the wrong labels", choices=get_args(NoiseKind))
    held_out = "classes to hold out for each seed, one at a time"
    add(parser, "--held-out", 4, held_out, type=positive, metavar="N")
    add_common(parser, "backbone", "config", "features")


BENCHMARK = Benchmark("add_class", _DESCRIPTION, _options)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
