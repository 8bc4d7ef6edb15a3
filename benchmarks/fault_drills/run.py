"""Repeats a drill on one stack, and on a new stack after an error."""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.fault_drills.client import ENDED
from benchmarks.fault_drills.drills import ALL
from benchmarks.fault_drills.examine import (
    Tensors,
    Verdict,
    count_jobs,
    examine,
    missing,
    orphans,
    tensors_of,
)
from benchmarks.fault_drills.stack import HOUSEKEEPING, Shape, Stack, running_stack
from benchmarks.fault_drills.trial import Drill, Trial
from benchmarks.skeleton.program import Document, grid_progress
from benchmarks.stack import StackError, keep_logs

_LIMIT_SECONDS = 300.0
"""A job that takes longer counts as lost. An undisturbed one takes two seconds, and half a minute
if a busy machine imports torch for it."""
_FAULTS = (
    StackError,
    AssertionError,  # something took too long or is impossible
    httpx.HTTPError,
    SQLAlchemyError,
    subprocess.SubprocessError,
)


def measure(options: Namespace, document: Document, console: Console) -> None:
    drills = [drill for drill in ALL if drill.name in (options.drill or drill.name)]
    document["settings"] = {
        name: getattr(options, name) for name in ("database", "seed", "repeats")
    }
    document["settings"]["housekeeping_seconds"] = HOUSEKEEPING
    document["drills"] = []
    with grid_progress(console) as bar:
        task = bar.add_task("", total=len(drills) * options.repeats)
        for number, drill in enumerate(drills, 1):
            bar.update(task, description=drill.name)
            outcome = run_drill(drill, options, lambda: bar.advance(task))
            document["drills"].append(asdict(outcome))
            bar.update(task, completed=number * options.repeats)


@dataclass
class Repeat:
    """One fault and its result."""

    moment: str
    seconds: float
    verdict: Verdict
    orphans: list[str] = field(default_factory=list)
    """Files without a row that this repeat left."""


@dataclass
class Outcome:
    """The result of one drill, as it is stored."""

    name: str
    what: str
    skipped: str | None = None
    heartbeat_seconds: float = 0.0
    undisturbed_seconds: float = 0.0
    orphaned_files_after_gc: int = 0
    every_repeat: list[Repeat] = field(default_factory=list)


@dataclass(frozen=True)
class Ground:
    """A running stack, and the result of an undisturbed job on it."""

    stack: Stack
    tensors: Tensors
    seconds: float

    def repeat(self, drill: Drill, name: str) -> Repeat:
        """Inject the fault once; `name` is the random seed."""
        trial = Trial(self.stack, random.Random(name), self.seconds, name)
        started = time.monotonic()
        before = orphans(self.stack)
        try:
            verdict = self._run(drill, trial)
            left = sorted(orphans(self.stack) - before)
        except _FAULTS as error:
            verdict, left = Verdict(lost=[f"{type(error).__name__}: {error}"]), []
        return Repeat(trial.moment, time.monotonic() - started, verdict, left)

    def _run(self, drill: Drill, trial: Trial) -> Verdict:
        stack = self.stack
        with stack.context.database.read() as session:
            jobs_before = count_jobs(session)
        drill.harm(trial)
        _wait(trial)
        trial.post(epochs=1)  # the next one must succeed, too
        _wait(trial)
        verdict = examine(trial, self.tensors, jobs_before)
        verdict.lost += trial.wrong
        verdict.lost += [f"{key} is not in the storage" for key in sorted(missing(stack))]
        verdict.lost += [f"{part.log.stem} died" for part in stack.parts if not part.alive]
        return verdict


@contextmanager
def ground(shape: Shape, database: str, folder: Path) -> Iterator[Ground]:
    """Start a stack and run a job. Raises AssertionError if that fails."""
    with running_stack(shape, database, folder) as stack:
        trial = Trial(stack, random.Random(0), 0.0, "undisturbed")
        for _ in stack.workers:  # so that all workers have loaded the weights
            trial.post(epochs=1)
        _wait(trial)
        started = time.monotonic()
        ended = stack.client.until(trial.post(), *ENDED, seconds=_LIMIT_SECONDS)
        seconds = time.monotonic() - started
        assert ended["status"] == "succeeded", f"an undisturbed job failed: {ended['error']}"
        yield Ground(stack, tensors_of(stack, ended["model_id"])[0], seconds)


def run_drill(drill: Drill, options: Namespace, on_repeat: Callable[[], None]) -> Outcome:
    """Inject the fault --repeats times; call `on_repeat` after each.

    After an error the drill continues on a new stack; the logs of the old one are kept in --logs.
    """
    skipped = drill.needs(options.database)
    outcome = Outcome(drill.name, drill.what, skipped, drill.shape.heartbeat)
    repeats = outcome.every_repeat
    while not skipped and len(repeats) < options.repeats:
        with tempfile.TemporaryDirectory(prefix="dspt-drill-") as folder:
            try:
                with ground(drill.shape, options.database, Path(folder)) as found:
                    outcome.undisturbed_seconds = round(found.seconds, 2)
                    right = True
                    while right and len(repeats) < options.repeats:
                        name = f"{drill.name}-{options.seed}-{len(repeats)}"
                        repeats.append(found.repeat(drill, name))
                        on_repeat()
                        right = repeats[-1].verdict.right
                    if right:
                        found.stack.collect_garbage()
                        outcome.orphaned_files_after_gc += len(orphans(found.stack))
            except _FAULTS as error:
                verdict = Verdict(lost=[f"the stack failed: {error}"])
                repeats.append(Repeat("start", 0.0, verdict))
                on_repeat()
            if options.logs is not None and not repeats[-1].verdict.right:
                keep_logs(Path(folder), options.logs / f"{drill.name}-{len(repeats) - 1}")
    return outcome


def _wait(trial: Trial) -> None:
    for job in trial.jobs:
        trial.stack.client.until(job, *ENDED, seconds=_LIMIT_SECONDS)
