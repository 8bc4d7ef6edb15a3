"""`python -m benchmarks.add_class`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import get_args

from rich.console import Console

from benchmarks.add_class.summary import markdown
from benchmarks.skeleton import options as common
from benchmarks.skeleton.program import Benchmark, Document, run
from dspt.labels.inject import NoiseKind

NAME = "add_class"
_DESCRIPTION = """\
Accuracy of a class that is added to a tuned model by its name, without photos. Holds out some
classes of each data set, one at a time: tunes a classifier on the other classes, adds the held-out
class by name, and measures on clean test images of all classes. Compares with zero-shot and with a
classifier tuned with photos of the class. Writes accuracy on the old classes and on the new one to
the folder --out as add_class.json and .md. After Ctrl-C the same command resumes."""


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    return run(Benchmark(NAME, _parser(), _measure, markdown), arguments)


def _measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    from benchmarks.add_class import measure
    from benchmarks.skeleton.sweep import sweep

    settings = measure.Settings(
        options.shots, options.kind, options.held_out, common.tune_config(options)
    )
    sweep(
        options,
        document,
        console,
        name=NAME,
        settings={name: getattr(options, name) for name in ("shots", "kind", "held_out")},
        runs={
            f"{rate:.0%} wrong, seed {seed}": (
                {"rate": rate, "seed": seed},
                partial(measure.measure, settings, rate, seed, options.features),
            )
            for rate in options.rates
            for seed in options.seeds
        },
        tunings=1 + options.held_out,
        code=[measure],
    )
    document["settings"]["rates"] = options.rates


def _parser() -> argparse.ArgumentParser:
    parser = common.new_parser(NAME, _DESCRIPTION)
    common.add_data(parser)
    common.add_rates(parser, [0.0, 0.25, 0.5])
    parser.add_argument("--kind", choices=get_args(NoiseKind), default="symmetric")
    common.add_shots(parser)
    parser.add_argument(
        "--held-out",
        type=common.positive,
        default=4,
        metavar="N",
        help="classes to hold out for each seed, one at a time (default: 4)",
    )
    common.add_seeds(parser, [1, 2])
    common.add_backbone(parser)
    common.add_config(parser)
    common.add_features(parser)
    common.add_results(parser)
    return parser
