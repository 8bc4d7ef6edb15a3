"""The command: its options, the progress bar, and what it writes."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.arguments import add_results, positive
from benchmarks.fault_drills.drills import ALL
from benchmarks.noise_robustness.console import INTERRUPTED, grid_bar
from dspt.kit.cpus import set_thread_defaults
from dspt.kit.files import atomic_write

PROGRAM = "python -m benchmarks.fault_drills"
NAME = "fault_drills"

_DESCRIPTION = """\
What becomes of jobs when parts of the service die. Starts the service as it runs in production
(PostgreSQL, Redis, API, workers: real processes, in a temporary folder), and again and again sends
jobs and does harm at a random moment: kills, restarts, full disks, jumping clocks. After each it
looks whether every job ended once, in the right state and whole, and whether a further one
succeeds. Writes the table and every repeat to the folder --out as fault_drills.json and .md. The
exit status is 1 if anything was lost or doubled. Needs Linux; takes about half an hour."""


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0, 1 where a job was lost or doubled, 130 on Ctrl-C."""
    options = _parser().parse_args(arguments)
    drills = [drill for drill in ALL if drill.name in (options.drill or drill.name)]
    console = Console(stderr=True)
    set_thread_defaults()
    signal.signal(signal.SIGTERM, _stop)
    from benchmarks.fault_drills.report import document, markdown
    from benchmarks.fault_drills.run import run_drill
    from benchmarks.tuning_speed.report import machine

    before = machine("cpu")
    outcomes = []
    try:
        with grid_bar(console) as bar:
            task = bar.add_task("", total=len(drills) * options.repeats)
            for number, drill in enumerate(drills):
                bar.update(task, description=drill.name)
                outcomes.append(
                    run_drill(
                        drill,
                        database=options.database,
                        repeats=options.repeats,
                        seed=options.seed,
                        logs=options.logs,
                        done=lambda: bar.advance(task),
                    )
                )
                bar.update(task, completed=(number + 1) * options.repeats)
    except KeyboardInterrupt:
        console.print("Stopped; nothing is written.")
        return INTERRUPTED
    command = shlex.join([*PROGRAM.split(), *arguments])
    settings = {"database": options.database, "seed": options.seed, "repeats": options.repeats}
    found = document(command, before, settings, outcomes)
    text = markdown(found)
    atomic_write(options.out / f"{NAME}.json", (json.dumps(found, indent=1) + "\n").encode())
    atomic_write(options.out / f"{NAME}.md", text.encode())
    Console().print(Markdown(text))
    return 0 if all(drill["right"] == drill["repeats"] for drill in found["drills"]) else 1


def _stop(_number: int, _frame: object) -> None:
    """A benchmark that just ended would leave its servers behind."""
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        epilog="drills:\n" + "".join(f"  {drill.name:24}{drill.what}\n" for drill in ALL),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--repeats", type=positive, default=20, metavar="N", help="of each drill (default: 20)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of all moments and choices (default: 0)"
    )
    parser.add_argument(
        "--drill",
        nargs="+",
        choices=[drill.name for drill in ALL],
        metavar="NAME",
        help="only these (default: all)",
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
        help="where to keep what all parts said in a repeat that went wrong (default: nowhere)",
    )
    add_results(parser)
    return parser
