"""`python -m benchmarks.noise_robustness`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.console import Console

from benchmarks.noise_robustness.settings import (
    CLEAN,
    KINDS,
    METHODS,
    PAPER_RATES,
    Noise,
    Protocol,
    Recipe,
    RecipeName,
    Settings,
    planted_noises,
)
from benchmarks.noise_robustness.table import markdown
from benchmarks.skeleton import options as common
from benchmarks.skeleton.program import Benchmark, Document, run
from dspt.kit.cpus import available_cpus

if TYPE_CHECKING:
    from benchmarks.noise_robustness.grid import Done, Failed
    from benchmarks.noise_robustness.prepare import Job
    from dspt.backbones import Backbone

NAME = "noise_robustness"
COOP_LAYOUT = ", or prepared as CoOp's authors say (split_zhou_*.json, FGVCAircraft); or a folder "
COOP_LAYOUT += "of several data sets"

_DESCRIPTION = """\
Accuracy under label noise. Tunes CLIP's prompt on a few photos per class, some of them with wrong
labels, with several losses, and measures each on clean test images; compares with zero-shot, this
service, and logistic regression on the same features. Writes a table (table.md), figures (PNG, SVG)
and results.json to the folder --out. After Ctrl-C it reports what is finished, and the same command
resumes."""

_EXAMPLES = """\
examples:
  a quick look: one seed, two rates
    python -m benchmarks.noise_robustness --data photos --seeds 1 --rates 0 0.5
  the protocol of the papers with a real CLIP on the data sets of CoOp's authors, all in $DATA
    python -m benchmarks.noise_robustness --data $DATA --backbone RN50/openai --recipe coop \\
        --epochs 200
  labels by human annotators, in two columns of a table, instead of injected ones
    python -m benchmarks.noise_robustness --data cifar10 --given-labels human.csv \\
        --given-column aggre worse
"""


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    benchmark = Benchmark(
        NAME,
        new_parser(),
        _measure,
        markdown,
        _figures,
        reportable=lambda document: bool(document.get("cells")),
        files=("results.json", "table.md"),
        needs=("matplotlib", "sklearn", "cleanlab"),
    )
    return run(benchmark, arguments)


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings in the options. Raises ConfigError."""
    settings = Settings(
        recipe=Recipe.of(
            options.recipe, epochs=options.epochs, augment_views=options.augment_views
        ),
        methods=tuple(name for name in METHODS if name in options.methods),
        shots=tuple(dict.fromkeys(options.shots)),
        seeds=tuple(dict.fromkeys(options.seeds)),
        noises=noises_of(options, options.protocols),
        default_config=options.default_config,
        logistic_c=options.logistic_c,
        backbone=options.backbone,
        device=options.device,
        precision=options.precision,
    )
    settings.tune_config(0)
    return settings


def noises_of(options: argparse.Namespace, protocols: Sequence[Protocol]) -> tuple[Noise, ...]:
    """Return the noises of --given-labels, or else those of --rates and --kinds."""
    if options.given_labels:
        columns = dict.fromkeys(options.given_column)
        return (CLEAN, *(Noise("human", column=column) for column in columns))
    return planted_noises(
        tuple(dict.fromkeys(options.rates)),
        tuple(dict.fromkeys(options.kinds)),
        tuple(dict.fromkeys(protocols)),
    )


def _measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    from benchmarks.noise_robustness import bench, cells, linear, methods
    from benchmarks.noise_robustness.grid import run_grid
    from benchmarks.noise_robustness.pool import run_jobs

    settings = settings_of(options)

    def run_cells(jobs: Sequence[Job], _: Backbone, done: Done, failed: Failed) -> None:
        runner = partial(cells.CellRunner, settings)
        run_jobs(jobs, runner, options.jobs, done=done, failed=failed)

    run_grid(
        options,
        document,
        console,
        settings,
        run_cells,
        cells=options.out / "cells",
        code=[bench, cells, methods, linear],
        fresh=options.fresh,
    )


def _figures(document: Document) -> dict[str, bytes]:
    from benchmarks.noise_robustness.accuracy_figure import accuracy_figures
    from benchmarks.noise_robustness.gradient_figure import gradient_figure

    return accuracy_figures(document) | gradient_figure(document)


def new_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = common.new_parser(NAME, _DESCRIPTION, _EXAMPLES)
    what = parser.add_argument_group("data")
    common.add_data(what, COOP_LAYOUT)
    common.add_backbone(what)
    add_given_labels(what)
    grid = parser.add_argument_group("the grid (default: that of the papers)")
    common.add_rates(grid, list(PAPER_RATES))
    grid.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    grid.add_argument(
        "--protocols",
        nargs="+",
        choices=get_args(Protocol),
        default=list(get_args(Protocol)),
        help="global: flip a share of all few shots (NLPrompt); per_class: the same number in "
        "every class (PTNL, JoAPR); default: both",
    )
    grid.add_argument(
        "--shots",
        type=common.positive,
        nargs="+",
        default=[16],
        metavar="N",
        help="training images per class (default: 16)",
    )
    common.add_seeds(grid, [1, 2, 3])
    _add_methods(parser.add_argument_group("methods"))
    running = parser.add_argument_group("running")
    common.add_results(running, Path(NAME))
    running.add_argument(
        "--jobs",
        type=common.positive,
        default=available_cpus(),
        metavar="N",
        help="cells at once, each in a process that loads the backbone (default: one per CPU)",
    )
    common.add_device(running)
    common.add_features(running)
    running.add_argument("--fresh", action="store_true", help="run finished cells again, too")
    return parser


def add_given_labels(options: common.Options) -> None:
    """Add --given-labels and --given-column."""
    options.add_argument(
        "--given-labels",
        type=Path,
        metavar="FILE.csv",
        help="labels by human annotators instead of injected noise: a table with a column `file` "
        "(path within the data set) and one column per annotation; needs a single data set",
    )
    options.add_argument(
        "--given-column",
        nargs="+",
        default=["label"],
        metavar="NAME",
        help="columns of that table to use, one after the other (default: label)",
    )


def add_logistic_c(options: common.Options) -> None:
    """Add --logistic-c."""
    options.add_argument(
        "--logistic-c",
        type=common.positive_number,
        metavar="C",
        help="inverse regularisation strength of logistic regression (default: the one of 0.3, 1, "
        "3, 10, 30, 100 that agrees best with the noisy labels in 5-fold cross-validation)",
    )


def _add_methods(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        default=list(METHODS),
        help="`default` is what this service does; default: all",
    )
    group.add_argument(
        "--recipe",
        choices=get_args(RecipeName),
        default="project",
        help="how the single losses are tuned: project, with this project's learning rates "
        "(default); coop, as in CoOp and the papers: learning rate 0.002, 16 random context "
        "vectors, crops and flips",
    )
    group.add_argument(
        "--epochs",
        type=common.positive,
        metavar="N",
        help="of the single losses (default: as the service, or 50 with --recipe coop; CoOp uses "
        "200 for 16 shots)",
    )
    group.add_argument(
        "--augment-views",
        type=common.count,
        metavar="N",
        help="random crops and flips of each training image for the single losses, in addition to "
        "its centre crop (default: as the service, or 8 with --recipe coop)",
    )
    group.add_argument(
        "--default-config",
        type=common.json_object,
        default={},
        metavar="JSON",
        help="settings of the service for the method `default`, such as '{\"epochs\": 100}'",
    )
    add_logistic_c(group)
