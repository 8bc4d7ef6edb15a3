"""The options of the command. Imports nothing large: `--help` is quick."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from benchmarks.arguments import add_device, add_features, positive
from benchmarks.noise_robustness.command import PROGRAM, command_of
from benchmarks.noise_robustness.settings import (
    CLEAN,
    METHODS,
    PAPER_RATES,
    Noise,
    NoiseKind,
    Protocol,
    Recipe,
    RecipeName,
    Settings,
    planted_noises,
)
from dspt.errors import ConfigError
from dspt.kit.cpus import available_cpus

KINDS: tuple[NoiseKind, ...] = ("symmetric", "asymmetric")

_DESCRIPTION = """\
Tune CLIP's prompt on a few photos per class with wrong labels among them, by several losses, and
measure each on clean test images, beside zero-shot and logistic regression on the same features.
Writes a table (table.md), figures (PNG, SVG) and all that is needed to run it again (results.json)
to the folder --out. Stopped with Ctrl-C, the same command goes on where it was."""

_EXAMPLES = """\
examples:
  a quick look: one seed, two rates
    {program} --data photos --seeds 1 --rates 0 0.5
  the papers' protocol with a real CLIP on the data sets of CoOp's authors, all below $DATA
    {program} --data $DATA --backbone RN50/openai --recipe coop --epochs 200
  labels given by people, in two columns of a table, instead of planted ones
    {program} --data cifar10 --given-labels human.csv --given-column aggre worse
"""


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    settings: Settings
    data: tuple[Path, ...]
    given_labels: Path | None
    out: Path
    features: Path
    jobs: int
    fresh: bool
    report_only: bool
    command: str
    """To be run again with; folders by their names alone."""


def parse(arguments: Sequence[str]) -> Options:
    """Exits with a message, status 2, where an option is wrong."""
    parser = _parser()
    found = parser.parse_args(arguments)
    if found.given_labels and len(found.data) > 1:
        parser.error("--given-labels is the table of one data set; give one --data")
    if found.given_labels:
        human = [Noise("human", column=column) for column in dict.fromkeys(found.given_column)]
        noises = (CLEAN, *human)
    else:
        noises = planted_noises(
            tuple(dict.fromkeys(found.rates)),
            tuple(dict.fromkeys(found.kinds)),
            tuple(dict.fromkeys(found.protocols)),
        )
    try:
        settings = Settings(
            recipe=Recipe.of(found.recipe, epochs=found.epochs, augment_views=found.augment_views),
            methods=tuple(name for name in METHODS if name in found.methods),
            shots=tuple(dict.fromkeys(found.shots)),
            seeds=tuple(dict.fromkeys(found.seeds)),
            noises=noises,
            default_config=found.default_config,
            logistic_c=found.logistic_c,
            backbone=found.backbone,
            device=found.device,
            precision=found.precision,
        )
        settings.tune_config(0)
    except ConfigError as error:
        parser.error(f"--default-config: {error}")
    return Options(
        settings=settings,
        data=tuple(found.data),
        given_labels=found.given_labels,
        out=found.out,
        features=found.features,
        jobs=found.jobs,
        fresh=found.fresh,
        report_only=found.report_only,
        command=command_of(parser, found),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        epilog=_EXAMPLES.format(program=PROGRAM),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to measure on")
    what.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="data sets: folders with train/<class>/ and test/<class>/, or prepared as CoOp's "
        "authors say (split_zhou_*.json, FGVCAircraft), or a folder of several of the latter",
    )
    what.add_argument(
        "--backbone",
        default="builtin",
        metavar="NAME",
        help="builtin, an open_clip name and tag such as ViT-B-16/openai or RN50/openai, or "
        "local-dir:/path (default: builtin)",
    )
    what.add_argument(
        "--given-labels",
        type=Path,
        metavar="FILE.csv",
        help="labels that people gave, instead of planted ones: a table with a column `file` (path "
        "within the data set) and a column per annotation",
    )
    what.add_argument(
        "--given-column",
        nargs="+",
        default=["label"],
        metavar="NAME",
        help="columns of that table to tune on, one after the other (default: label)",
    )
    _add_grid(parser.add_argument_group("the grid (default: that of the papers)"))
    _add_methods(parser.add_argument_group("methods"))
    _add_running(parser.add_argument_group("running"))
    return parser


def _add_grid(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--rates",
        type=_share,
        nargs="+",
        default=list(PAPER_RATES),
        metavar="R",
        help="shares of wrong labels (default: 0 0.125 0.25 0.375 0.5 0.625 0.75)",
    )
    group.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    group.add_argument(
        "--protocols",
        nargs="+",
        choices=get_args(Protocol),
        default=list(get_args(Protocol)),
        help="global: a share of all few shots is flipped (NLPrompt); per_class: the same number "
        "in every class (PTNL, JoAPR); default: both",
    )
    group.add_argument(
        "--shots",
        type=positive,
        nargs="+",
        default=[16],
        metavar="N",
        help="training images per class (default: 16)",
    )
    group.add_argument(
        "--seeds", type=_seed, nargs="+", default=[1, 2, 3], metavar="S", help="default: 1 2 3"
    )


def _add_methods(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    group.add_argument(
        "--recipe",
        choices=get_args(RecipeName),
        default="project",
        help="how the single losses are tuned: project, with the rates of this project (default); "
        "coop, as CoOp and the papers do: rate 0.002, 16 random context vectors, crops and flips",
    )
    group.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help="of the single losses (default: as the service, or 50 with --recipe coop; CoOp itself "
        "takes 200 for 16 shots)",
    )
    group.add_argument(
        "--augment-views",
        type=_count,
        metavar="N",
        help="random crops and flips of each training image for the single losses, encoded beside "
        "its centre crop (default: as the service, or 8 with --recipe coop)",
    )
    group.add_argument(
        "--default-config",
        type=_object,
        default={},
        metavar="JSON",
        help="settings of the service for the method `default`, such as '{\"epochs\": 100}'",
    )
    group.add_argument(
        "--logistic-c",
        type=_strength,
        metavar="C",
        help="inverse regularisation strength of logistic regression (default: the one of 0.3, 1, "
        "3, 10, 30, 100 that agrees best with the given labels in 5-fold cross-validation)",
    )


def _add_running(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--out",
        type=Path,
        default=Path("noise_robustness"),
        metavar="DIR",
        help="folder for the result (default: noise_robustness)",
    )
    group.add_argument(
        "--jobs",
        type=positive,
        default=available_cpus(),
        metavar="N",
        help="cells at once, each a process that loads the backbone (default: one per CPU)",
    )
    add_device(group)
    add_features(group)
    group.add_argument("--fresh", action="store_true", help="run finished cells again too")
    group.add_argument(
        "--report-only",
        action="store_true",
        help="run nothing: table and figures from the cells of this grid in --out, whatever "
        "version made them",
    )


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share between 0 and 1")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


_seed = _count


def _strength(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("should be a JSON object of settings")
    return value
