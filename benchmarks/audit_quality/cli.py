"""The command: its options, and what it writes. Imports nothing large: `--help` is quick."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.arguments import add_device, add_features, positive
from benchmarks.noise_robustness.command import PROGRAM as COPIED_PROGRAM
from benchmarks.noise_robustness.command import command_of
from benchmarks.noise_robustness.console import INTERRUPTED, tell
from benchmarks.noise_robustness.settings import (
    CLEAN,
    Noise,
    NoiseKind,
    Protocol,
    Recipe,
    Settings,
    planted_noises,
)
from dspt.errors import ConfigError, DsptError
from dspt.kit.cpus import set_thread_defaults
from dspt.kit.files import atomic_write

PROGRAM = "python -m benchmarks.audit_quality"
NAME = "audit_quality"
_KINDS: tuple[NoiseKind, ...] = ("symmetric", "asymmetric")

_DESCRIPTION = """\
How well wrong labels are found. A few shots per class are drawn from each data set and a share of
their labels is made wrong; the service's audit, cleanlab on the same features and the single parts
of the audit rank the labels by suspicion. Prints ROC-AUC, precision at k (the number of wrong
labels), recall after a tenth is reviewed, which labels are called wrong (at 0 % all of that is
false alarm), and the estimated share of wrong labels with its interval; writes them to the folder
--out as audit_quality.json, .md, .png and .svg. Stopped with Ctrl-C, the same command goes on where
it was."""

_EXAMPLES = f"""\
examples:
  a quick look: one seed, one rate
    {PROGRAM} --data photos --seeds 1 --rates 0 0.25
  labels given by people, in two columns of a table, instead of planted ones
    {PROGRAM} --data cifar10 --given-labels human.csv --given-column aggre worse
"""


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0, 1 where a cell failed, 2 for settings or data at fault, 130 on Ctrl-C."""
    parser = _parser()
    options = parser.parse_args(arguments)
    settings = _settings(parser, options)
    console = Console(stderr=True)
    missing = [name for name in ("cleanlab", "sklearn", "matplotlib") if not find_spec(name)]
    if missing:
        console.print(f"not installed: {', '.join(missing)}; pip install 'dspt[benchmarks]'")
        return 2
    # torch reads the variables when it is imported
    set_thread_defaults()
    from benchmarks.audit_quality.figure import figures
    from benchmarks.audit_quality.report import make_document
    from benchmarks.audit_quality.run import run_grid
    from benchmarks.audit_quality.summary import markdown
    from benchmarks.noise_robustness.report import dumps

    try:
        records, failed = run_grid(
            options.data,
            settings,
            options.given_labels,
            cells=options.out / f"{NAME}_cells",
            features=options.features,
            console=console,
        )
    except KeyboardInterrupt:
        console.print("Stopped. The same command goes on behind the last cell that was finished.")
        return INTERRUPTED
    except DsptError as error:
        tell(console, error)
        return 2
    for cell, message in failed.items():
        console.print(f"failed: {cell}: {message}", style="red", markup=False)
    if records:
        command = PROGRAM + command_of(parser, options).removeprefix(COPIED_PROGRAM)
        document = make_document(command, settings, records, failed)
        text = markdown(document)
        written = {
            f"{NAME}.json": dumps(document).encode(),
            f"{NAME}.md": text.encode(),
            **figures(document, NAME),
        }
        for name, content in written.items():
            atomic_write(options.out / name, content)
        Console().print(Markdown(text))
    return 1 if failed else 0


def _settings(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Settings:
    if options.given_labels and len(options.data) > 1:
        parser.error("--given-labels is the table of one data set; give one --data")
    if options.given_labels:
        human = [Noise("human", column=name) for name in dict.fromkeys(options.given_column)]
        noises = (CLEAN, *human)
    else:
        noises = planted_noises(
            tuple(dict.fromkeys(options.rates)),
            tuple(dict.fromkeys(options.kinds)),
            (options.protocol,),
        )
    try:
        settings = Settings(
            recipe=Recipe.of("project"),
            methods=("default", "logistic"),
            shots=(options.shots,),
            seeds=tuple(dict.fromkeys(options.seeds)),
            noises=noises,
            default_config=json.loads(options.config),
            logistic_c=options.logistic_c,
            backbone=options.backbone,
            device=options.device,
            precision=options.precision,
        )
        settings.tune_config(0)
    except (ConfigError, ValueError, TypeError) as error:
        parser.error(f"--config: {error}")
    return settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="data sets, labelled right: folders with train/<class>/ and test/<class>/, or in the "
        "layout of CoOp's authors",
    )
    parser.add_argument(
        "--rates",
        type=_share,
        nargs="+",
        default=[0.0, 0.1, 0.25, 0.5],
        metavar="R",
        help="shares of wrong labels to plant (default: 0 0.1 0.25 0.5)",
    )
    parser.add_argument("--kinds", nargs="+", choices=_KINDS, default=list(_KINDS))
    parser.add_argument(
        "--protocol",
        choices=get_args(Protocol),
        default="global",
        help="global: that share of all shots is flipped (default); per_class: of every class",
    )
    parser.add_argument(
        "--given-labels",
        type=Path,
        metavar="FILE.csv",
        help="labels that people gave, instead of planted ones: a table with a column `file` (path "
        "within the data set) and a column per annotation",
    )
    parser.add_argument(
        "--given-column",
        nargs="+",
        default=["label"],
        metavar="NAME",
        help="columns of that table, one after the other (default: label)",
    )
    parser.add_argument(
        "--shots",
        type=positive,
        default=16,
        metavar="N",
        help="training images per class (default: 16)",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="S", help="default: 1 2 3"
    )
    parser.add_argument(
        "--backbone",
        default="builtin",
        metavar="NAME",
        help="builtin, an open_clip name and tag such as ViT-B-16/openai, or local-dir:/path "
        "(default: builtin)",
    )
    parser.add_argument(
        "--config",
        default="{}",
        metavar="JSON",
        help="other settings of the tuning, such as '{\"epochs\": 10}'",
    )
    parser.add_argument(
        "--logistic-c",
        type=float,
        metavar="C",
        help="inverse regularisation strength of cleanlab's logistic regression (default: the one "
        "that agrees best with the given labels in cross-validation)",
    )
    add_device(parser)
    add_features(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(NAME),
        metavar="DIR",
        help=f"folder for the results (default: {NAME})",
    )
    return parser


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share from 0 to below 1")
    return share
