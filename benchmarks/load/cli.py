"""The command line: options, progress bar, files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from benchmarks.skeleton.options import add_results, new_parser, positive, positive_number
from benchmarks.skeleton.program import Benchmark, BenchmarkError, Document, run

_PACKAGES = ("fastapi", "uvicorn", "sqlalchemy", "psycopg", "pydantic", "celery", "torch")

_DESCRIPTION = """\
Measure how the service behaves under load. Starts PostgreSQL, Redis, `dspt api` and `dspt worker`
on this machine, each in a process of its own. While jobs are tuned, it submits jobs, polls them,
predicts, and listens to their events. Requests are sent at random moments, whether or not earlier
ones have been answered; latency counts from these moments. Prints percentiles of latency and of the
delay of events, errors by status, memory over time and the delay of the load generator itself, and
writes them to the folder --out as load.json, .md, .png and .svg. Needs no data and no downloads."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status (see `program.run`)."""
    return run(
        Benchmark("load", _parser(), _measure, _markdown, _figures, packages=_PACKAGES), arguments
    )


def _measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    from benchmarks.load.run import measure
    from benchmarks.load.summary import goals
    from benchmarks.stack import StackError

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    # No automatic refresh: a drawing thread would delay the load generator.
    with Progress(*columns, TimeElapsedColumn(), console=console, auto_refresh=False) as bar:
        task = bar.add_task("", total=1.0)

        def on_progress(what: str, done: float) -> None:
            bar.update(task, description=what, completed=done, refresh=True)

        try:
            measure(options, document, on_progress)
        except StackError as error:
            raise BenchmarkError(str(error)) from error
    document["goals"] = goals(document["figures"], document["settings"])


def _markdown(document: Document) -> str:
    from benchmarks.load.report import markdown

    return markdown(document)


def _figures(document: Document) -> dict[str, bytes]:
    from benchmarks.load.report import figures

    return figures(document, "load")


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "load",
        _DESCRIPTION,
        "Close other programs first: on a busy machine all figures get worse.",
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
    for name, number, what in numbers:
        parser.add_argument(
            name,
            type=positive_number,
            default=number,
            metavar="N",
            help=f"{what} (default: {number:g})",
        )
    counts = (
        ("--listeners", 200, "listeners to events, each with its own connection"),
        ("--workers", 1, "number of workers"),
        ("--epochs", 600, "epochs of each job"),
        ("--seed", 1, "random seed of photos and moments"),
    )
    for name, default, what in counts:
        parser.add_argument(
            name,
            type=positive,
            default=default,
            metavar="N",
            help=f"{what} (default: {default})",
        )
    parser.add_argument(
        "--engine",
        choices=("auto", "openvino", "torch"),
        default="auto",
        help="engine of the image tower (default: auto)",
    )
    parser.add_argument(
        "--logs", type=Path, metavar="DIR", help="keep the logs of API and workers in this folder"
    )
    add_results(parser)
    return parser
