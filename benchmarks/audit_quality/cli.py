"""`python -m benchmarks.audit_quality`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.console import Console

from benchmarks.noise_robustness.cli import (
    COOP_LAYOUT,
    add_given_labels,
    add_logistic_c,
    noises_of,
)
from benchmarks.noise_robustness.settings import KINDS, Protocol, Recipe, Settings
from benchmarks.skeleton import options as common
from benchmarks.skeleton.program import Benchmark, Document, run

if TYPE_CHECKING:
    from benchmarks.noise_robustness.grid import Done, Failed
    from benchmarks.noise_robustness.prepare import Job
    from dspt.backbones import Backbone

NAME = "audit_quality"

_DESCRIPTION = """\
How well wrong labels are found. Draws a few shots per class from each data set and makes a share of
their labels wrong; this service's audit, cleanlab on the same features and the parts of the audit
rank the labels by suspicion. Writes ROC-AUC, precision at k (the number of wrong labels), recall
after reviewing a tenth, the labels called wrong (at 0 % these are false alarms), and the estimated
share of wrong labels with its interval to the folder --out as audit_quality.json, .md, .png and
.svg. After Ctrl-C it reports what is finished, and the same command resumes."""

_EXAMPLES = """\
examples:
  a quick look: one seed, two rates
    python -m benchmarks.audit_quality --data photos --seeds 1 --rates 0 0.25
  labels by human annotators, in two columns of a table, instead of injected ones
    python -m benchmarks.audit_quality --data cifar10 --given-labels human.csv \\
        --given-column aggre worse
"""


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    benchmark = Benchmark(
        NAME,
        _parser(),
        _measure,
        _markdown,
        _figures,
        reportable=lambda document: bool(document.get("cells")),
        needs=("cleanlab", "sklearn", "matplotlib"),
    )
    return run(benchmark, arguments)


def _markdown(document: Document) -> str:
    from benchmarks.audit_quality.summary import markdown  # imports torch

    return markdown(document)


def _figures(document: Document) -> dict[str, bytes]:
    from benchmarks.audit_quality.figure import figures

    return figures(document, NAME)


def _measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    from benchmarks.audit_quality import measure, rankings, scores
    from benchmarks.noise_robustness import bench, linear
    from benchmarks.noise_robustness.grid import run_grid

    settings = Settings(
        recipe=Recipe.of("project"),
        methods=("default", "logistic"),
        shots=(options.shots,),
        seeds=tuple(dict.fromkeys(options.seeds)),
        noises=noises_of(options, [options.protocol]),
        default_config=options.config,
        logistic_c=options.logistic_c,
        backbone=options.backbone,
        device=options.device,
        precision=options.precision,
    )

    def run_jobs(jobs: Sequence[Job], backbone: Backbone, done: Done, failed: Failed) -> None:
        cells = measure.Bench(settings, backbone)
        for job in jobs:
            done(job, cells.measure(job))

    run_grid(
        options,
        document,
        console,
        settings,
        run_jobs,
        cells=options.out / f"{NAME}_cells",
        code=[measure, rankings, scores, bench, linear],
    )


def _parser() -> argparse.ArgumentParser:
    parser = common.new_parser(NAME, _DESCRIPTION, _EXAMPLES)
    common.add_data(parser, COOP_LAYOUT)
    common.add_rates(parser, [0.0, 0.1, 0.25, 0.5])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    common.add_protocol(parser, get_args(Protocol))
    add_given_labels(parser)
    common.add_shots(parser)
    common.add_seeds(parser, [1, 2, 3])
    common.add_backbone(parser)
    common.add_config(parser)
    add_logistic_c(parser)
    common.add_device(parser)
    common.add_features(parser)
    common.add_results(parser, Path(NAME))
    return parser
