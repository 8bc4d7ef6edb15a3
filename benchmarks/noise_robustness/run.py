"""The command: encode, run the cells that are not finished, write the report."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import torch
from rich.console import Console

from benchmarks.noise_robustness.cells import CellRunner, Job
from benchmarks.noise_robustness.cli import Options
from benchmarks.noise_robustness.console import INTERRUPTED, grid_bar, tell
from benchmarks.noise_robustness.datasets import find_sets
from benchmarks.noise_robustness.pool import Result, run_jobs
from benchmarks.noise_robustness.prepare import (
    encode_all,
    make_job,
    read_given_labels,
    unique_names,
)
from benchmarks.noise_robustness.records import (
    Record,
    Records,
    cell_key,
    identity_of,
    make_record,
    missing_packages,
)
from benchmarks.noise_robustness.report import write_report
from benchmarks.noise_robustness.settings import Cell
from dspt.backbones import load_backbone
from dspt.errors import DsptError
from dspt.features.store import FeatureStore
from dspt.kit.device import resolve_device


def run(options: Options, *, encoding_threads: int | None = None) -> int:
    """Do what the user asked for; returns the exit status (see __main__)."""
    console = Console(stderr=True)
    if missing := missing_packages(options.settings.methods):
        console.print(
            f"not installed: {', '.join(missing)}; pip install 'dspt[benchmarks]'", markup=False
        )
        return 2
    try:
        paths = [found for path in options.data for found in find_sets(path)]
        grid = options.settings.cells(unique_names(paths))
        records = Records(options.out / "cells")
        if options.report_only:
            finished = [record for cell in grid if (record := records.get(cell))]
            return _report(options, console, finished, {})
        if encoding_threads is not None:
            torch.set_num_threads(encoding_threads)
        with _ended_by_signals(), Runner(options, console, records) as runner:
            try:
                runner.run(paths, grid)
            except KeyboardInterrupt:
                console.print(
                    f"Stopped with {len(runner.finished)} of {len(grid)} cells finished. The same "
                    "command goes on from there; with --report-only it shows what there is."
                )
                return INTERRUPTED
        order = {cell.name: at for at, cell in enumerate(grid)}
        finished = sorted(runner.finished, key=lambda record: order[record["name"]])
        return _report(options, console, finished, runner.failed)
    except DsptError as error:
        tell(console, error)
        return 2


class Runner:
    """One run of a grid, with its progress bar and its temporary folder of features."""

    def __init__(self, options: Options, console: Console, records: Records) -> None:
        self._options, self._console, self._records = options, console, records
        self._stack = ExitStack()
        self.finished: list[Record] = []
        self.failed: dict[str, str] = {}
        """Cell -> what was wrong."""

    def __enter__(self) -> Runner:
        self._folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="dspt-noise-"))
        self._bar = self._stack.enter_context(grid_bar(self._console))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, paths: Sequence[Path], grid: Sequence[Cell]) -> None:
        """Encode all data sets and run every cell that is not finished.

        Raises DsptError for data or settings at fault; a cell at fault goes to `failed`.
        """
        options, settings = self._options, self._options.settings
        human = read_given_labels(options.given_labels, settings)
        backbone = load_backbone(settings.backbone, device=resolve_device(settings.device))
        identity = identity_of(backbone, settings)
        store = FeatureStore(options.features, on_failure=self._warn)
        sets = encode_all(paths, settings, backbone, Path(self._folder), store, self._bar)
        del backbone  # each process loads its own

        task = self._bar.add_task("cells", total=len(grid))
        jobs: list[Job] = []
        keys: dict[str, str] = {}
        for cell in grid:
            try:
                job = make_job(cell, sets, human)
            except ValueError as error:  # this set cannot have this noise
                self._fail(cell, str(error))
                self._bar.advance(task)
                continue
            key = cell_key(job, sets[cell.dataset], settings, identity)
            record = None if options.fresh else self._records.get(cell, key)
            if record is None:
                keys[cell.name] = key
                jobs.append(job)
            else:
                self.finished.append(record)
                self._bar.advance(task)
        self._bar.reset(task, total=len(grid), completed=len(self.finished) + len(self.failed))

        def done(job: Job, result: Result) -> None:
            name = job.cell.name
            record = make_record(job, sets[job.cell.dataset], keys[name], identity, result)
            self._records.put(job.cell, record)
            self.finished.append(record)
            self._bar.advance(task)

        def failed(job: Job, error: BaseException) -> None:
            if error.__cause__ is not None:  # the traceback in the process
                self._console.print(str(error.__cause__), markup=False, highlight=False)
            self._fail(job.cell, f"{type(error).__name__}: {error}")
            self._bar.advance(task)

        run_jobs(jobs, partial(CellRunner, settings), options.jobs, done=done, failed=failed)

    def _fail(self, cell: Cell, error: str) -> None:
        self.failed[cell.name] = error
        self._warn(f"failed: {cell.name}: {error}")

    def _warn(self, text: str) -> None:
        self._console.print(text, style="red", markup=False)


def _report(
    options: Options, console: Console, finished: Sequence[Record], failed: dict[str, str]
) -> int:
    if not finished:
        console.print(f"there is no finished cell of this grid in {options.out}", markup=False)
        return 1
    for path in write_report(options, finished, failed):
        console.print(str(path), markup=False, highlight=False)
    for cell, error in failed.items():
        console.print(f"failed: {cell}: {error}", style="red", markup=False)
    return 1 if failed else 0


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM is taken as Ctrl-C: processes are stopped, the temporary folder goes."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
