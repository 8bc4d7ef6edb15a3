"""Runs a benchmark from the command line: errors, Ctrl-C, and the files it writes."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmarks.skeleton.machine import PACKAGES, load_average, machine, versions
from benchmarks.skeleton.options import add_common
from benchmarks.skeleton.records import dumps
from dspt.errors import DatasetError, DsptError
from dspt.kit.cpus import set_thread_defaults
from dspt.kit.files import atomic_write

FAILED, AT_FAULT, INTERRUPTED = 1, 2, 130
"""Exit statuses: a measurement failed; settings or data are at fault; Ctrl-C (128 + SIGINT)."""
BUSY = "Close other programs first: a busy machine distorts all figures."
_PROBLEMS_SHOWN = 20
_LINE_EVERY = 10.0
"""Seconds between lines about a part that is running."""

Document = dict[str, Any]
"""Content of the JSON; has `command`, `machine` and `versions` from the start."""


class BenchmarkError(Exception):
    """The measurement failed; the message says why."""


@dataclass(frozen=True)
class Benchmark:
    """One benchmark. Its other modules are imported when needed: they import torch."""

    name: str
    """`python -m benchmarks.NAME`; the results are NAME.json and NAME.md.

    `benchmarks.NAME.run` has `measure(options, document, console)`: it fills in the document, shows
    progress on the console (stderr) and raises BenchmarkError, DsptError or OSError.
    `benchmarks.NAME.report` has `markdown(document)`, which also reads the documents in
    benchmarks/results, and may have `figures(document)`: file name -> content.
    """
    description: str
    options: Callable[[argparse.ArgumentParser], None]
    """Adds the options, apart from --out and --report-only."""
    epilog: str = ""
    out: Path = Path("benchmarks") / "results"
    """Default of --out."""
    packages: Sequence[str] = PACKAGES
    """Whose versions are recorded."""
    passed: Callable[[Document], bool] = lambda document: not document.get("failed")
    """Whether the finished document counts as a success; otherwise the exit status is 1."""
    reportable: Callable[[Document], bool] = lambda document: False
    """Whether a measurement that was interrupted or failed has enough for a report."""
    files: tuple[str, str] | None = None
    """Names of JSON and Markdown where they are not NAME.json and NAME.md."""
    needs: Sequence[str] = ()
    """Modules of the extra `benchmarks` that must be installed."""

    def parser(self) -> argparse.ArgumentParser:
        """Return the parser of the command. Description and epilog keep their line breaks."""
        parser = argparse.ArgumentParser(
            prog=f"python -m benchmarks.{self.name}",
            description=self.description,
            epilog=self.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.options(parser)
        add_common(parser, "report-only", out=self.out)
        return parser


def run(benchmark: Benchmark, arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, measure and write the report; returns the exit status.

    arguments: Default: those of this process.
    0: success; 1: a measurement failed; 2: settings or data are at fault; 130: Ctrl-C or SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = benchmark.parser()
    options = parser.parse_args(arguments)
    progress = Console(stderr=True)
    if missing := [name for name in benchmark.needs if find_spec(name) is None]:
        print_error(
            progress, f"not installed: {', '.join(missing)}; pip install 'dspt[benchmarks]'"
        )
        return AT_FAULT
    json_name, markdown_name = benchmark.files or (f"{benchmark.name}.json", f"{benchmark.name}.md")
    if options.report_only:
        path: Path = options.out / json_name
        if not path.is_file():
            parser.error(f"--report-only: not found: {path}")
        document, status = json.loads(path.read_text("utf-8")), 0
    else:
        if getattr(options, "data", True) is None:
            parser.error("the following arguments are required: --data")
        set_thread_defaults()  # torch reads the variables when it is imported
        document = {
            "command": shlex.join([*parser.prog.split(), *arguments]),
            "machine": machine(),
            "versions": versions(benchmark.packages),
        }
        status = _measure(benchmark, options, document, progress)
        if status and not benchmark.reportable(document):
            return status
        document["machine"]["load_after"] = load_average()
        atomic_write(options.out / json_name, dumps(document).encode())
        if not status and not benchmark.passed(document):
            status = FAILED
    report = import_module(f"benchmarks.{benchmark.name}.report")
    text: str = report.markdown(document)
    figures: dict[str, bytes] = {}
    if hasattr(report, "figures") and status != INTERRUPTED:  # they take seconds
        figures = report.figures(document)
    for name, content in {markdown_name: text.encode(), **figures}.items():
        atomic_write(options.out / name, content)
    Console().print(Markdown(text))
    progress.print(f"Results: {options.out}", markup=False, highlight=False)
    return status


class _GridProgress(Progress):
    """A progress bar; lines instead if the console is no terminal, such as a pipe or a log file.

    A line for each new description and each step of `advance`, and for other changes one every
    10 seconds.
    """

    def __init__(self, console: Console, *, auto_refresh: bool) -> None:
        self._of_line = (TextColumn("{task.description}"), MofNCompleteColumn())
        self._times = (TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn())
        super().__init__(
            *(self._of_line[0], BarColumn(), self._of_line[1], *self._times),
            console=console,
            auto_refresh=auto_refresh,
            speed_estimate_period=3600,  # rich estimates from half a minute by default
            disable=not console.is_terminal,
        )
        self._due = -math.inf

    def update(self, task_id: TaskID, **changes: Any) -> None:
        before = self._tasks[task_id].description
        super().update(task_id, **changes)
        self._show(task_id, now=self._tasks[task_id].description != before)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._show(task_id, now=True)

    def _show(self, task_id: TaskID, *, now: bool) -> None:
        if not self.disable or not (now or self.get_time() >= self._due):
            return
        self._due = self.get_time() + _LINE_EVERY
        task = self._tasks[task_id]
        parts = [column.render(task).plain for column in (*self._of_line, *self._times)]
        self.console.print(" ".join(parts), markup=False, highlight=False, soft_wrap=True)


def grid_progress(console: Console, *, auto_refresh: bool = True) -> Progress:
    """Return a progress bar over parts that may take minutes each; lines without a terminal."""
    return _GridProgress(console, auto_refresh=auto_refresh)


def print_error(console: Console, message: str) -> None:
    """Print a message in red, without interpreting markup."""
    console.print(message, style="red", markup=False, highlight=False)


def _measure(
    benchmark: Benchmark, options: argparse.Namespace, document: Document, console: Console
) -> int:
    try:
        with _interrupted_by_signals():
            module = import_module(f"benchmarks.{benchmark.name}.run")
            module.measure(options, document, console)
    except KeyboardInterrupt:
        document["interrupted"] = True
        console.print("Interrupted.")
        return INTERRUPTED
    except DatasetError as error:
        for problem in error.problems[:_PROBLEMS_SHOWN]:
            print_error(console, f"{problem.where}: {problem.message}")
        return AT_FAULT
    except DsptError as error:
        print_error(console, f"error: {error.message}")
        return AT_FAULT
    except (BenchmarkError, OSError) as error:
        print_error(console, f"error: {error}")
        return FAILED
    return 0


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C: by default Python ends without cleaning up."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
