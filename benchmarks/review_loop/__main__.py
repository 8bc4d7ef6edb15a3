"""`python -m benchmarks.review_loop`."""

import sys
from argparse import ArgumentParser
from typing import get_args

from benchmarks.skeleton.options import add, add_common, share
from benchmarks.skeleton.program import Benchmark, run
from dspt.labels.inject import NoiseKind

_DESCRIPTION = """\
What reviewing labels is worth. Draws a few shots per class from each data set, makes a share of
their labels wrong and tunes a classifier. A simulated person reviews the first labels of its audit
and corrects the wrong ones, and a new classifier is tuned; the same with labels reviewed in random
order, for comparison. Writes accuracy on clean test images and wrong labels left to the folder
--out as review_loop.json and .md. After Ctrl-C the same command resumes."""


def _options(parser: ArgumentParser) -> None:
    add_common(parser, "data", "shots", "protocol", "seeds", "backbone", "config", "features")
    add(parser, "--rate", 0.25, "share of wrong labels to inject", type=share, metavar="R")
    add(parser, "--kind", "symmetric", "of the wrong labels", choices=get_args(NoiseKind))
    shares, what = [0.0, 0.05, 0.1, 0.2, 0.3, 0.5], "shares of the training images to review"
    add(parser, "--shares", shares, what, type=share, metavar="S")


BENCHMARK = Benchmark("review_loop", _DESCRIPTION, _options)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
