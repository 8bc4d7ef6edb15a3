"""`python -m benchmarks.review_loop`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import get_args

from rich.console import Console

from benchmarks.review_loop.summary import markdown
from benchmarks.skeleton import options as common
from benchmarks.skeleton.program import Benchmark, Document, run
from dspt.labels.inject import NoiseKind, NoiseProtocol

NAME = "review_loop"
_SHARES = [0.0, 0.05, 0.1, 0.2, 0.3, 0.5]
_DESCRIPTION = """\
What reviewing labels is worth. Draws a few shots per class from each data set, makes a share of
their labels wrong and tunes a classifier. A simulated person reviews the first labels of its audit
and corrects the wrong ones, and a new classifier is tuned; the same with labels reviewed in random
order, for comparison. Writes accuracy on clean test images, wrong labels left and points gained per
ten reviewed labels to the folder --out as review_loop.json, .md, .png and .svg. After Ctrl-C the
same command resumes."""


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    return run(
        Benchmark(NAME, _parser(), _measure, markdown, _figures, needs=["matplotlib"]), arguments
    )


def _figures(document: Document) -> dict[str, bytes]:
    from benchmarks.review_loop.figure import figures

    return figures(document, NAME)


def _measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    from benchmarks.review_loop import measure
    from benchmarks.skeleton import planted
    from benchmarks.skeleton.sweep import sweep

    decisive = {name: getattr(options, name) for name in ("shots", "rate", "kind", "protocol")}
    decisive["shares"] = tuple(sorted({0.0, *options.shares}))
    settings = measure.Settings(**decisive, config=common.tune_config(options))
    sweep(
        options,
        document,
        console,
        name=NAME,
        settings=decisive,
        runs={
            f"seed {seed}": (
                {"seed": seed},
                partial(measure.measure, settings, seed, options.features),
            )
            for seed in options.seeds
        },
        tunings=measure.most_tunings(settings),
        code=[measure, planted],
    )


def _parser() -> argparse.ArgumentParser:
    parser = common.new_parser(NAME, _DESCRIPTION)
    common.add_data(parser)
    parser.add_argument(
        "--rate",
        type=common.share,
        default=0.25,
        metavar="R",
        help="share of wrong labels to inject (default: 0.25)",
    )
    parser.add_argument("--kind", choices=get_args(NoiseKind), default="symmetric")
    common.add_protocol(parser, get_args(NoiseProtocol))
    common.add_shots(parser)
    parser.add_argument(
        "--shares",
        type=common.share,
        nargs="+",
        default=_SHARES,
        metavar="S",
        help=f"shares of the training images to review (default: {common.shown(_SHARES)})",
    )
    common.add_seeds(parser, [1, 2, 3])
    common.add_backbone(parser)
    common.add_config(parser)
    common.add_features(parser)
    common.add_results(parser)
    return parser
