"""The command line: options, progress bar, files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.fault_drills.drills import ALL
from benchmarks.skeleton.options import add_results, count, new_parser, positive
from benchmarks.skeleton.program import Benchmark, Document, grid_progress, run

_DESCRIPTION = """\
Test that no job is lost or done twice when parts of the service fail. Starts the service as in
production (PostgreSQL, Redis, API, workers: real processes, in a temporary folder), submits jobs
and injects faults at random moments: kills, restarts, full disks, clock jumps. After each fault it
checks that every job ended once, in the expected state and complete, and that the next job
succeeds. Writes the table and every repeat to the folder --out as fault_drills.json and .md. The
exit status is 1 if a job was lost or done twice. Needs Linux; takes about half an hour."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status (see `program.run`)."""
    return run(
        Benchmark(
            "fault_drills",
            _parser(),
            _measure,
            _markdown,
            passed=lambda document: all(
                drill["right"] == drill["repeats"] for drill in document["drills"]
            ),
        ),
        arguments,
    )


def _measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    from benchmarks.fault_drills.report import figures
    from benchmarks.fault_drills.run import run_drill
    from benchmarks.fault_drills.stack import HOUSEKEEPING

    drills = [drill for drill in ALL if drill.name in (options.drill or drill.name)]
    document["settings"] = {
        **{name: getattr(options, name) for name in ("database", "seed", "repeats")},
        "housekeeping_seconds": HOUSEKEEPING,
    }
    document["drills"] = []
    with grid_progress(console) as bar:
        task = bar.add_task("", total=len(drills) * options.repeats)
        for number, drill in enumerate(drills, 1):
            bar.update(task, description=drill.name)
            outcome = run_drill(
                drill,
                database=options.database,
                repeats=options.repeats,
                seed=options.seed,
                logs=options.logs,
                on_repeat=lambda: bar.advance(task),
            )
            document["drills"].append(figures(outcome))
            bar.update(task, completed=number * options.repeats)


def _markdown(document: Document) -> str:
    from benchmarks.fault_drills.report import markdown

    return markdown(document)


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "fault_drills",
        _DESCRIPTION,
        "drills:\n" + "".join(f"  {drill.name:24}{drill.what}\n" for drill in ALL),
    )
    parser.add_argument(
        "--repeats", type=positive, default=20, metavar="N", help="of each drill (default: 20)"
    )
    parser.add_argument(
        "--seed", type=count, default=0, help="random seed of moments and choices (default: 0)"
    )
    parser.add_argument(
        "--drill",
        nargs="+",
        choices=[drill.name for drill in ALL],
        metavar="NAME",
        help="run only these (default: all)",
    )
    parser.add_argument(
        "--database",
        choices=("postgresql", "sqlite"),
        default="postgresql",
        help="default: postgresql",
    )
    parser.add_argument(
        "--logs",
        type=Path,
        metavar="DIR",
        help="keep the logs of repeats that failed in this folder (default: keep none)",
    )
    add_results(parser)
    return parser
