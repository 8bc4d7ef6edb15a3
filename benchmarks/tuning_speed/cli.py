"""Settings of `python -m benchmarks.tuning_speed`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

STEPS = {20: 5, 200: 3}
"""Steps measured up to so many classes; beyond, one."""
GROWTH = (100, 200, 400, 1000)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Raises SystemExit for settings at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tuning_speed",
        description=(
            "Time prompt tuning on this machine: the plain trainer as CoOp and NLPrompt do it "
            "against this project's, in one run. Needs no data and no downloads: weights are "
            "random (speed does not depend on them), photos are generated. On 2 CPUs the whole "
            "takes about ten minutes."
        ),
        epilog="Close other programs first: on a busy machine all figures suffer.",
    )
    parser.add_argument(
        "--classes",
        type=_positive,
        nargs="+",
        default=[10, 100, 1000],
        metavar="N",
        help="numbers of classes (default: 10 100 1000)",
    )
    parser.add_argument(
        "--backbones",
        nargs="+",
        default=["ViT-B-32", "RN50"],
        metavar="NAME",
        help="architectures of open_clip whose class is CLIP (default: ViT-B-32 RN50)",
    )
    parser.add_argument(
        "--steps",
        type=_positive,
        metavar="N",
        help="steps to measure and to compare the contexts after (default: 5 up to 20 classes, 3 "
        "up to 200, else 1)",
    )
    parser.add_argument(
        "--n-ctx", type=_positive, default=16, metavar="M", help="context vectors (default: 16)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="of weights, photos, order (default: 1)"
    )
    parser.add_argument(
        "--lr", type=float, default=0.002, help="learning rate (default: 0.002, CoOp's)"
    )
    parser.add_argument(
        "--device", default="auto", help="auto (a GPU if there is one), cpu, cuda or cuda:N"
    )
    parser.add_argument(
        "--precision",
        choices=["both", "float32"],
        default="both",
        help="both: bfloat16 too, where the processor has its instructions (default); or float32",
    )
    parser.add_argument(
        "--quick", action="store_true", help="10 classes, 2 steps, no growth: does it run at all?"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.json",
        help="write all figures here, and the tables beside it as FILE.md",
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.classes, options.steps = [10], 2
    if options.out is not None and options.out.suffix != ".json":
        parser.error(f"--out is {options.out}, but should end in .json")
    return options


def steps_for(classes: int, wanted: int | None) -> int:
    """How many steps are measured of a case."""
    if wanted is not None:
        return wanted
    return next((steps for most, steps in STEPS.items() if classes <= most), 1)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)
