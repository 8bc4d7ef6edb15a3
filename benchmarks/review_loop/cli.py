"""The command: its options, the progress bar, and what it writes."""

from __future__ import annotations

import argparse
import json
import platform
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmarks.arguments import add_config, add_data, add_features, add_results
from benchmarks.earlier import records_by_key
from dspt.config import TuneConfig
from dspt.data import load_dataset
from dspt.errors import ConfigError, DatasetError, DsptError
from dspt.kit.cpus import available_cpus, set_thread_defaults
from dspt.kit.files import atomic_write
from dspt.labels.inject import NoiseKind, NoiseProtocol

if TYPE_CHECKING:
    from benchmarks.review_loop.measure import Settings

PROGRAM = "python -m benchmarks.review_loop"
NAME = "review_loop"

_DESCRIPTION = """\
What it pays to review labels. A few shots per class are drawn from each data set and a share of
their labels is made wrong. A classifier is tuned, a simulated person goes through the first labels
of its audit and puts right those that are wrong, and a new classifier is tuned on that; beside it,
the same with labels looked at in random order. Prints accuracy on clean test images against the
number of labels reviewed, the wrong labels left and the points gained per ten labels reviewed, and
writes them to the folder --out as review_loop.json, .md, .png and .svg. Stopped with Ctrl-C, the
same command goes on behind the last seed that was done."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        config = TuneConfig.parse({"backbone": options.backbone, **json.loads(options.config)})
    except (ConfigError, ValueError, TypeError) as error:
        parser.error(f"--config: {error}")
    for folder in options.data:
        if not (folder / "train").is_dir() or not (folder / "test").is_dir():
            parser.error(f"--data {folder}: has no train/ and test/ in it")
    names = [folder.resolve().name for folder in options.data]
    if len(set(names)) < len(names):
        parser.error("--data: two folders have the same name")
    console = Console()
    set_thread_defaults()
    from benchmarks.review_loop.measure import Settings

    settings = Settings(
        shots=options.shots,
        rate=options.rate,
        kind=options.kind,
        protocol=options.protocol,
        shares=tuple(sorted({0.0, *options.shares})),
        config=config,
    )
    try:
        document = _run(options, settings, _command(options), console)
    except DatasetError as error:
        for problem in error.problems:
            console.print(f"error: {problem.where}: {problem.message}", style="red", markup=False)
        return 2
    except DsptError as error:
        console.print(f"error: {error.message}", style="red", markup=False)
        return 2
    from benchmarks.review_loop.figure import figures
    from benchmarks.review_loop.summary import markdown

    text = markdown(document)
    atomic_write(options.out / f"{NAME}.md", text.encode())
    for name, content in figures(document, NAME).items():
        atomic_write(options.out / name, content)
    console.print(Markdown(text))
    return 0


def _run(
    options: argparse.Namespace, settings: Settings, command: str, console: Console
) -> dict[str, Any]:
    """Measure what is missing; the JSON is written after each seed of each data set."""
    from benchmarks.noise_robustness.records import code_digest, digest_of_code, versions
    from benchmarks.review_loop import measure
    from benchmarks.review_loop.measure import Bench, most_tunings, record_key
    from dspt.backbones import load_backbone
    from dspt.kit.device import resolve_device

    device = resolve_device(settings.config.device)
    backbone = load_backbone(settings.config.backbone, device=device)
    bench = Bench(backbone, options.features)
    identity = {
        "backbone_digest": backbone.digest,
        "versions": versions(),
        "code": [code_digest(), digest_of_code([Path(measure.__file__)])],
    }
    path = options.out / f"{NAME}.json"
    known = records_by_key(path)
    document: dict[str, Any] = {
        "command": command,
        "machine": f"{platform.machine()}, {available_cpus()} CPUs, {backbone.device.type}, "
        f"Python {platform.python_version()}",
        **identity,
        "settings": asdict(settings)
        | {"config": settings.config.model_dump(), "seeds": options.seeds},
        "datasets": {},
    }
    each = most_tunings(settings)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.1f}/{task.total:.0f} tunings"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=each * len(options.data) * len(options.seeds))
        over = 0
        for folder in options.data:
            name = folder.resolve().name
            bar.update(task, description=f"{name}: reading")
            with load_dataset(folder) as dataset:
                for seed in options.seeds:
                    bar.update(task, description=f"{name}, seed {seed}")
                    key = record_key(dataset, settings, seed, identity)
                    told = _Told(bar, task, over)
                    record = known.get(key) or bench.measure(dataset, settings, seed, told)
                    document["datasets"].setdefault(name, []).append({"key": key, **record})
                    over += each
                    bar.update(task, completed=over)
                    atomic_write(path, (json.dumps(document, indent=1) + "\n").encode())
    return document


@dataclass(frozen=True)
class _Told:
    """Moves the bar on from where it was before this record."""

    bar: Progress
    task: TaskID
    over: int

    def __call__(self, done: float) -> None:
        self.bar.update(self.task, completed=self.over + done)


def _command(options: argparse.Namespace) -> str:
    """To run it again with; data sets by their names alone."""
    words = [PROGRAM, "--data", *(folder.resolve().name for folder in options.data)]
    for name in ("rate", "kind", "protocol", "shots", "backbone", "config"):
        words += [f"--{name}", shlex.quote(str(getattr(options, name)))]
    for name in ("seeds", "shares"):
        words += [f"--{name}", *map(str, getattr(options, name))]
    return " ".join(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data(parser)
    parser.add_argument(
        "--rate",
        type=_share,
        default=0.25,
        metavar="R",
        help="share of wrong labels to plant (default: 0.25)",
    )
    parser.add_argument("--kind", choices=get_args(NoiseKind), default="symmetric")
    parser.add_argument(
        "--protocol",
        choices=get_args(NoiseProtocol),
        default="global",
        help="global: that share of all shots is flipped (default); per_class: of every class",
    )
    parser.add_argument(
        "--shots", type=int, default=16, metavar="N", help="training images per class (default: 16)"
    )
    parser.add_argument(
        "--shares",
        type=_share,
        nargs="+",
        default=[0.0, 0.05, 0.1, 0.2, 0.3, 0.5],
        metavar="S",
        help="shares of the training images that are looked at (default: 0 0.05 0.1 0.2 0.3 0.5)",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="S")
    parser.add_argument("--backbone", default="builtin", metavar="NAME")
    add_config(parser)
    add_features(parser)
    add_results(parser)
    return parser


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share between 0 and 1")
    return share
