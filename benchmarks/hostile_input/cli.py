"""The command: its options, the progress bar, and what it writes."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.arguments import add_results, positive
from benchmarks.noise_robustness.console import INTERRUPTED, grid_bar
from dspt.kit.cpus import set_thread_defaults
from dspt.kit.files import atomic_write
from scripts.demo.stack import StackError

PROGRAM = "python -m benchmarks.hostile_input"
NAME = "hostile_input"

_DESCRIPTION = """\
What becomes of hostile uploads. Makes archives and images from a seed, of many families: paths that
lead out of their folder, links, lies about sizes, overlapping members, bombs, truncated, damaged,
two files in one. Reads each in a process that may write nowhere, with its time and memory measured;
then starts the service (`dspt serve`, in a temporary folder), posts every archive as a job, every
image inside a zip and to /predict, and watches memory and disk of API and worker. Writes a table by
family to the folder --out as hostile_input.json and .md. The exit status is 1 if an answer was
500 or above, a job failed for a reason of ours, a process died or anything was written elsewhere.
Needs Linux; takes about a quarter of an hour on two CPUs."""


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0, 1 where something went wrong, 130 on Ctrl-C."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    set_thread_defaults()
    from benchmarks.hostile_input.report import document, markdown
    from benchmarks.hostile_input.run import run
    from benchmarks.tuning_speed.report import machine

    before = machine("cpu")
    try:
        with grid_bar(console) as bar:
            task = bar.add_task("", total=2 * options.archives + 3 * options.images)
            findings = run(
                options.seed,
                options.archives,
                options.images,
                lambda doing: bar.update(task, advance=1, description=doing),
            )
    except KeyboardInterrupt:
        console.print("Stopped; nothing is written.")
        return INTERRUPTED
    except StackError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    command = shlex.join([*PROGRAM.split(), *arguments])
    found = document(command, before, options.seed, findings)
    text = markdown(found)
    atomic_write(options.out / f"{NAME}.json", (json.dumps(found, indent=1) + "\n").encode())
    atomic_write(options.out / f"{NAME}.md", text.encode())
    Console().print(Markdown(text))
    return 0 if findings.right else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn (default: 1)")
    parser.add_argument(
        "--archives", type=positive, default=2080, metavar="N", help="how many (default: 2080)"
    )
    parser.add_argument(
        "--images", type=positive, default=510, metavar="N", help="how many (default: 510)"
    )
    add_results(parser)
    return parser
