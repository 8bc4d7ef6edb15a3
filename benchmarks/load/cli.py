"""The command line: options, progress bar, files."""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import signal
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from benchmarks.arguments import add_results, positive

PROGRAM = "python -m benchmarks.load"
NAME = "load"
_PACKAGES = ("fastapi", "uvicorn", "sqlalchemy", "psycopg", "pydantic", "celery", "torch")

_DESCRIPTION = """\
Measure how the service behaves under load. Starts PostgreSQL, Redis, `dspt api` and `dspt worker`
on this machine, each in a process of its own. While jobs are tuned, it submits jobs, polls them,
predicts, and listens to their events. Requests are sent at random moments, whether or not earlier
ones have been answered; latency counts from these moments. Prints percentiles of latency and of the
delay of events, errors by status, memory over time and the delay of the load generator itself, and
writes them to the folder --out as load.json, .md, .png and .svg. Needs no data and no downloads."""


def main(arguments: Sequence[str]) -> int:
    """Return the exit status: 0, 1 if the stack fails, 2 for invalid options, 130 on Ctrl-C."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):  # by default Python ends without cleaning up
        signal.signal(number, signal.default_int_handler)
    console = Console()
    from benchmarks.load.run import SetupError, measure
    from benchmarks.stack import StackError

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    try:
        # No automatic refresh: a drawing thread would delay the load generator.
        with Progress(*columns, TimeElapsedColumn(), console=console, auto_refresh=False) as bar:
            task = bar.add_task("", total=1.0)

            def on_progress(what: str, done: float) -> None:
                bar.update(task, description=what, completed=done, refresh=True)

            measured = measure(options, on_progress)
    except KeyboardInterrupt:
        console.print("Interrupted; the stack is stopped.")
        return 130
    except (StackError, SetupError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 1
    from benchmarks.load.report import figures, markdown
    from benchmarks.load.summary import goals
    from benchmarks.noise_robustness.report import machine
    from dspt.kit.files import atomic_write

    document = {
        "command": shlex.join([*PROGRAM.split(), *arguments]),
        "machine": machine() | {name: measured.pop(name) for name in ("load_before", "load_after")},
        "versions": {"Python": platform.python_version()}
        | measured.pop("servers")
        | {name: version(name) for name in _PACKAGES},
        "goals": goals(measured["figures"], measured["settings"]),
        **measured,
    }
    text = markdown(document)
    atomic_write(options.out / f"{NAME}.json", (json.dumps(document, indent=1) + "\n").encode())
    atomic_write(options.out / f"{NAME}.md", text.encode())
    for name, content in figures(document, NAME).items():
        atomic_write(options.out / name, content)
    console.print(Markdown(text))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Close other programs first: on a busy machine all figures get worse.",
    )
    numbers: tuple[tuple[str, float, str], ...] = (
        ("--minutes", 10, "duration of the measurement in minutes"),
        ("--warm-up", 30, "seconds of load before the measurement"),
        ("--polls-per-second", 200, "GET /jobs/{id}, half of running and half of ended jobs"),
        ("--predictions-per-second", 1, "POST /predict with one photo"),
        ("--submits-per-minute", 3, "POST /jobs with a zip of photos"),
        ("--stays", 60, "seconds after which a listener reconnects, on average"),
        ("--pause", 5, "maximum seconds before a listener turns to the next job"),
    )
    for name, default, what in numbers:
        parser.add_argument(
            name, type=_number, default=default, metavar="N", help=f"{what} (default: {default:g})"
        )
    parser.add_argument(
        "--listeners",
        type=positive,
        default=200,
        metavar="N",
        help="number of listeners to events, each with its own connection (default: 200)",
    )
    parser.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="number of workers (default: 1)"
    )
    parser.add_argument(
        "--epochs",
        type=positive,
        default=600,
        metavar="N",
        help="epochs of each job (default: 600)",
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "openvino", "torch"),
        default="auto",
        help="engine of the image tower (default: auto)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="random seed of photos and moments (default: 1)"
    )
    parser.add_argument(
        "--logs", type=Path, metavar="DIR", help="keep the logs of API and workers in this folder"
    )
    add_results(parser)
    return parser


def _number(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value
