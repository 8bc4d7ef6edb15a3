"""The command: its options, and what it writes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markdown import Markdown

from benchmarks.arguments import add_results, positive
from dspt.kit.cpus import available_cpus

PROGRAM = "python -m benchmarks.serving"
NAME = "serving"
_PACKAGES = ("fastapi", "uvicorn", "pydantic", "torch", "openvino", "pillow")
_BACKBONES = ("builtin", "ViT-B-16/random")
_INTERRUPTED = 130

_DESCRIPTION = """\
How many images a second the service classifies, beside its image tower by itself. Starts
PostgreSQL, Redis, `dspt api` and `dspt worker` on this machine, each a process of its own, and
clients that ask, wait and ask again: 1, 8 and 64 of them; with 1 to 5,000 models in memory; while
an alias moves; while a job is tuned; and far more than may wait. The tower and 64 clients take
turns, so that a ratio is of neighbours. Says where an image's processor time goes. A backbone
`ARCHITECTURE/random`, as in ViT-B-16/random, has random weights: as fast as the published ones, and
no download. Writes serving.json and .md to the folder --out; after a Ctrl-C what there is by then.
"""


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0, 1 where the stack fails, 2 for settings at fault, 130 on Ctrl-C."""
    options = _parser().parse_args(arguments)
    _fill_in(options)
    for number in (signal.SIGTERM, signal.SIGHUP):  # by default Python ends without cleaning up
        signal.signal(number, signal.default_int_handler)
    console, progress = Console(), Console(stderr=True)
    from benchmarks.noise_robustness.report import machine
    from benchmarks.serving.child import ChildError
    from benchmarks.serving.run import measure
    from benchmarks.stack import StackError
    from dspt.errors import DsptError

    document: dict[str, Any] = {
        "command": shlex.join([*PROGRAM.split(), *arguments]),
        "machine": machine(),
        "settings": {
            name: getattr(options, name)
            for name in ("backbone", "models", "seconds", "rounds", "threads", "seed")
        },
    }
    started = time.monotonic()

    def tell(what: str) -> None:  # lines, no bar: a thread that draws would be measured, too
        progress.print(
            f"{time.monotonic() - started:4.0f} s  {what}", markup=False, highlight=False
        )

    status = 0
    try:
        measure(options, tell, document)
    except KeyboardInterrupt:
        tell("Interrupted; the stack is stopped.")
        document["interrupted"], status = True, _INTERRUPTED
    except (StackError, ChildError, DsptError, httpx.HTTPError, OSError, ValueError) as error:
        progress.print(f"error: {error}", style="red", markup=False)
        status = 1
    if "servers" in document:
        console.print(Markdown(_write(document, options.out)))
    return status


def _write(document: dict[str, Any], folder: Path) -> str:
    """Write what was measured; the tables."""
    from benchmarks.serving.report import markdown
    from benchmarks.serving.summary import goals
    from dspt.kit.files import atomic_write

    loads = {"load_before": document.pop("load_before"), "load_after": os.getloadavg()[0]}
    document["machine"] |= loads
    document["versions"] = (
        {"Python": platform.python_version()} | document.pop("servers") | dict(_versions())
    )
    document["goals"] = goals(document)
    text = markdown(document)
    atomic_write(folder / f"{NAME}.json", (json.dumps(document, indent=1) + "\n").encode())
    atomic_write(folder / f"{NAME}.md", text.encode())
    return text


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):  # OpenVINO; torch runs the towers then
            yield package, version(package)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Close other programs first: on a busy machine all figures suffer.",
    )
    parser.add_argument(
        "--backbone",
        nargs="+",
        default=list(_BACKBONES),
        metavar="NAME",
        help=f"what is not about towers is measured on the first (default: {' '.join(_BACKBONES)})",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        type=positive,
        default=None,
        metavar="N",
        help="in memory, beside 1 (default: 100 1000 5000)",
    )
    parser.add_argument(
        "--seconds", type=_seconds, metavar="N", help="of each measurement (default: 8)"
    )
    parser.add_argument(
        "--rounds", type=positive, metavar="N", help="of what takes turns (default: 4)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="about two minutes: the first backbone, 3 seconds, 2 rounds, up to 1,000 models",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        default=available_cpus(),
        metavar="N",
        help="of the API and of the tower by itself (default: one for each CPU)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="photos to cut (default: scikit-image's)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of crops and requests (default: 1)")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the logs of the stack there")
    add_results(parser)
    return parser


def _fill_in(options: argparse.Namespace) -> None:
    """What --quick makes shorter, where it is not given."""
    quick = options.quick
    if quick:
        options.backbone = options.backbone[:1]
    models = options.models or ([1000] if quick else [100, 1000, 5000])
    options.models = sorted({1, *models})
    options.seconds = options.seconds or (3.0 if quick else 8.0)
    options.rounds = options.rounds or (2 if quick else 4)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.5 <= value <= 600:
        raise argparse.ArgumentTypeError(f"{text} is not from 0.5 to 600")
    return value
