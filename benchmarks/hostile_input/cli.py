"""The command line: options, progress bar, files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from benchmarks.skeleton.options import add_results, count, new_parser, positive
from benchmarks.skeleton.program import Benchmark, BenchmarkError, Document, grid_progress, run

_DESCRIPTION = """\
Test how hostile uploads are handled. Makes archives and images of many families from a seed: paths
that leave their folder, links, false sizes, overlapping members, bombs, truncated and damaged
files, two files in one. Reads each file in a process that must not write to disk, and measures time
and memory. Then starts the service (`dspt serve`, in a temporary folder), sends every archive as a
job and every image inside a zip and to /predict, and watches memory and disk of API and worker.
Writes a table by family to the folder --out as hostile_input.json and .md. The exit status is 1 if
an answer was 500 or above, if a job failed with an internal error, if a process died or if a file
was written outside the data directory. Needs Linux; takes half an hour on two CPUs."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status (see `program.run`)."""
    return run(
        Benchmark(
            "hostile_input",
            _parser(),
            _measure,
            _markdown,
            passed=lambda document: bool(document["right"]),
        ),
        arguments,
    )


def _measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    from benchmarks.hostile_input.report import figures
    from benchmarks.hostile_input.run import run as attack
    from scripts.demo.stack import StackError

    with grid_progress(console) as bar:
        task = bar.add_task("", total=2 * options.archives + 3 * options.images)
        try:
            findings = attack(
                options.seed,
                options.archives,
                options.images,
                lambda doing: bar.update(task, advance=1, description=doing),
            )
        except StackError as error:
            raise BenchmarkError(str(error)) from error
    document |= {"seed": options.seed, **figures(findings)}


def _markdown(document: Document) -> str:
    from benchmarks.hostile_input.report import markdown

    return markdown(document)


def _parser() -> argparse.ArgumentParser:
    parser = new_parser("hostile_input", _DESCRIPTION)
    parser.add_argument("--seed", type=count, default=1, help="random seed (default: 1)")
    for name, number in (("archives", 2080), ("images", 510)):
        parser.add_argument(
            f"--{name}",
            type=positive,
            default=number,
            metavar="N",
            help=f"number of {name} (default: {number})",
        )
    add_results(parser)
    return parser
