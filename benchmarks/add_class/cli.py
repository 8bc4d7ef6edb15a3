"""The command: its options, the progress bar, and what it writes."""

from __future__ import annotations

import argparse
import json
import platform
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress

from benchmarks.arguments import add_config, add_data, add_features, add_results, positive
from benchmarks.earlier import records_by_key
from dspt.config import TuneConfig
from dspt.data import load_dataset
from dspt.errors import ConfigError, DsptError
from dspt.kit.cpus import available_cpus, set_thread_defaults
from dspt.kit.files import atomic_write
from dspt.labels.inject import NoiseKind

if TYPE_CHECKING:
    from benchmarks.add_class.measure import Settings

PROGRAM = "python -m benchmarks.add_class"
NAME = "add_class"

_DESCRIPTION = """\
What a class is worth that is added by name. Some classes of each data set are left out, one at a
time: a classifier is tuned on the others, given the name of the class that was left out, and tried
on clean test images of all. Beside it: zero-shot, and a classifier tuned with photos of the class.
Prints the accuracy on the old classes and on the new one, and writes it to the folder --out as
add_class.json and .md. Stopped with Ctrl-C, the same command goes on behind the last seed done."""


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
    from benchmarks.add_class.measure import Settings

    settings = Settings(options.shots, options.kind, options.held_out, config)
    try:
        document = _run(options, settings, console)
    except DsptError as error:
        console.print(f"error: {error.message}", style="red", markup=False)
        return 2
    from benchmarks.add_class.summary import markdown

    text = markdown(document)
    atomic_write(options.out / f"{NAME}.md", text.encode())
    console.print(Markdown(text))
    return 0


def _run(options: argparse.Namespace, settings: Settings, console: Console) -> dict[str, Any]:
    """Measure what is missing; the JSON is written after each record."""
    from benchmarks.add_class.measure import measure, record_key
    from benchmarks.noise_robustness.records import code_digest, digest_of_code, versions
    from dspt.backbones import load_backbone
    from dspt.kit.device import resolve_device

    backbone = load_backbone(
        settings.config.backbone, device=resolve_device(settings.config.device)
    )
    identity = {
        "backbone_digest": backbone.digest,
        "versions": versions(),
        "code": [code_digest(), digest_of_code([Path(measure.__code__.co_filename)])],
    }
    path = options.out / f"{NAME}.json"
    known = records_by_key(path)
    document: dict[str, Any] = {
        "command": _command(options),
        "machine": f"{platform.machine()}, {available_cpus()} CPUs, {backbone.device.type}, "
        f"Python {platform.python_version()}",
        **identity,
        "settings": asdict(settings)
        | {
            "config": settings.config.model_dump(),
            "seeds": options.seeds,
            "rates": options.rates,
        },
        "datasets": {},
    }
    runs = [(rate, seed) for rate in options.rates for seed in options.seeds]
    steps = 1 + settings.held_out
    with Progress(console=console) as bar:
        task = bar.add_task("", total=steps * len(runs) * len(options.data))
        for folder in options.data:
            name = folder.resolve().name
            bar.update(task, description=f"{name}: reading")
            with load_dataset(folder) as dataset:
                for rate, seed in runs:
                    bar.update(task, description=f"{name}, {rate:.0%} wrong, seed {seed}")
                    key = record_key(dataset, settings, rate, seed, identity)
                    record = known.get(key)
                    if record is None:
                        record = measure(
                            backbone,
                            dataset,
                            settings,
                            rate,
                            seed,
                            options.features,
                            lambda: bar.advance(task),
                        )
                    else:
                        bar.advance(task, steps)
                    document["datasets"].setdefault(name, []).append({"key": key, **record})
                    atomic_write(path, (json.dumps(document, indent=1) + "\n").encode())
    return document


def _command(options: argparse.Namespace) -> str:
    """To run it again with; data sets by their names alone."""
    words = [PROGRAM, "--data", *(folder.resolve().name for folder in options.data)]
    for name in ("kind", "shots", "held_out", "backbone", "config"):
        words += [f"--{name.replace('_', '-')}", shlex.quote(str(getattr(options, name)))]
    for name in ("rates", "seeds"):
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
        "--rates",
        type=float,
        nargs="+",
        default=[0.0, 0.25, 0.5],
        metavar="R",
        help="shares of wrong labels to plant (default: 0 0.25 0.5)",
    )
    parser.add_argument("--kind", choices=get_args(NoiseKind), default="symmetric")
    parser.add_argument(
        "--shots", type=positive, default=16, metavar="N", help="training images per class (16)"
    )
    parser.add_argument(
        "--held-out",
        type=positive,
        default=4,
        metavar="N",
        help="classes left out, one at a time, for each seed (default: 4)",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], metavar="S")
    parser.add_argument("--backbone", default="builtin", metavar="NAME")
    add_config(parser)
    add_features(parser)
    add_results(parser)
    return parser
