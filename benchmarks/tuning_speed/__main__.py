"""`python -m benchmarks.tuning_speed`."""

import sys
from argparse import ArgumentParser

from benchmarks.skeleton.options import add, add_common, positive
from benchmarks.skeleton.program import BUSY, Benchmark, run

_DESCRIPTION = """\
Time and memory of prompt tuning on this machine: the plain trainer, as in CoOp and NLPrompt, and
this project's, in one run. Needs no data and no download: the weights are random (they do not
affect the speed) and the photos generated. Also measures bfloat16 if the processor supports it,
and then whole jobs with the built-in backbone and the default settings, stage by stage.
Needs Linux; takes about 25 minutes on 2 CPUs."""


def _options(parser: ArgumentParser) -> None:
    numbers = {"type": positive, "metavar": "N"}
    what = "numbers of classes to time the trainers with; without a number, only whole jobs are run"
    add(parser, "--classes", [10, 100, 1000], what, nargs="*", **numbers)
    what = "architectures of open_clip whose class is CLIP"
    add(parser, "--backbones", ["ViT-B-32", "RN50"], what, metavar="NAME")
    what = "steps to measure, after which the contexts are compared (default: 5 up to 20 classes, "
    add(parser, "--steps", None, f"{what}3 up to 200, else 1)", **numbers)
    add_common(parser, "seed", "device")
    what = "numbers of classes of whole jobs, whose time and memory are read stage by stage"
    add(parser, "--stages", [100, 1000], what, nargs="*", **numbers)
    what = "10 classes, 2 steps, no whole job: a check that it runs"
    add(parser, "--quick", False, what, action="store_true")


PACKAGES = ("torch", "open_clip_torch", "numpy")
BENCHMARK = Benchmark(
    "tuning_speed", _DESCRIPTION, _options, BUSY, packages=PACKAGES, needs=("psutil",)
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
