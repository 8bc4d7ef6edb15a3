"""The command line: options, progress lines, files."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.skeleton.options import add_results, count, new_parser, positive, positive_number
from benchmarks.skeleton.program import Benchmark, BenchmarkError, Document, run
from dspt.kit.cpus import available_cpus

_PACKAGES = ("fastapi", "uvicorn", "pydantic", "torch", "openvino", "pillow")
_BACKBONES = ["builtin", "ViT-B-16/random"]

_DESCRIPTION = """\
Measure how many images per second the service classifies, compared with its image tower alone.
Starts PostgreSQL, Redis, `dspt api` and `dspt worker` on this machine, each in a process of its
own, and 1, 8 and 64 clients that send the next request after each answer. Further measurements:
1 to 5,000 models in memory, an alias that moves, a job that is tuned meanwhile, and more clients
than may wait. The tower and 64 clients take turns, so that each ratio is of measurements next to
each other. Also prints the CPU time of an image by part. A backbone ARCHITECTURE/random, such as
ViT-B-16/random, has random weights: as fast as the published ones, without a download. Writes
serving.json and .md to the folder --out; after Ctrl-C, what has been measured until then."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status (see `program.run`)."""
    return run(
        Benchmark(
            "serving",
            _parser(),
            _measure,
            _markdown,
            packages=_PACKAGES,
            reportable=lambda document: "PostgreSQL" in document["versions"],
        ),
        arguments,
    )


def _measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    import httpx

    from benchmarks.serving.child import ChildError
    from benchmarks.serving.run import measure
    from benchmarks.serving.summary import goals
    from benchmarks.stack import StackError

    _fill_in(options)
    document["settings"] = {
        name: getattr(options, name)
        for name in ("backbone", "models", "seconds", "rounds", "threads", "seed")
    }
    started = time.monotonic()

    def on_progress(what: str) -> None:  # lines, no bar: a drawing thread would be measured, too
        console.print(f"{time.monotonic() - started:4.0f} s  {what}", markup=False, highlight=False)

    try:
        measure(options, on_progress, document)
    except (StackError, ChildError, httpx.HTTPError, ValueError) as error:
        raise BenchmarkError(str(error)) from error
    finally:
        document["goals"] = goals(document)


def _markdown(document: Document) -> str:
    from benchmarks.serving.report import markdown

    return markdown(document)


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "serving",
        _DESCRIPTION,
        "Close other programs first: on a busy machine all figures get worse.",
    )
    parser.add_argument(
        "--backbone",
        nargs="+",
        default=_BACKBONES,
        metavar="NAME",
        help="backbones; measurements other than of speed use the first one "
        f"(default: {' '.join(_BACKBONES)})",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        type=positive,
        metavar="N",
        help="numbers of models in memory, besides 1 (default: 100 1000 5000)",
    )
    parser.add_argument(
        "--seconds", type=positive_number, metavar="N", help="of each measurement (default: 8)"
    )
    parser.add_argument(
        "--rounds", type=positive, metavar="N", help="of measurements that take turns (default: 4)"
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
        help="of the API and of the tower alone (default: number of CPUs)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        dest="photos",
        metavar="DIR",
        help="folder with photos (default: photos of scikit-image)",
    )
    parser.add_argument("--seed", type=count, default=1, help="random seed (default: 1)")
    parser.add_argument(
        "--logs", type=Path, metavar="DIR", help="keep the logs of the stack in this folder"
    )
    add_results(parser)
    return parser


def _fill_in(options: argparse.Namespace) -> None:
    """Set the defaults that depend on --quick."""
    quick = options.quick
    if quick:
        options.backbone = options.backbone[:1]
    options.models = sorted({1, *(options.models or ([1000] if quick else [100, 1000, 5000]))})
    options.seconds = options.seconds or (3.0 if quick else 8.0)
    options.rounds = options.rounds or (2 if quick else 4)
