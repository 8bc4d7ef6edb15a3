"""Runs a drill again and again, on one stack for as long as that one holds."""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.fault_drills.client import ENDED
from benchmarks.fault_drills.examine import Tensors, Verdict, count_jobs, examine, tensors_of
from benchmarks.fault_drills.stack import Stack, running_stack
from benchmarks.fault_drills.storage import missing, orphans
from benchmarks.fault_drills.trial import Drill, Trial

_LIMIT_SECONDS = 60.0
"""A job that has not ended by then counts as lost; undisturbed it takes two."""


@dataclass
class Repeat:
    """One harm, and what came of it."""

    moment: str
    seconds: float
    verdict: Verdict
    orphans: list[str]
    """Files that this repeat left without a row."""


@dataclass
class Outcome:
    """Of one drill."""

    drill: Drill
    skipped: str | None = None
    repeats: list[Repeat] = field(default_factory=list)
    undisturbed_seconds: float = 0.0
    orphans_left: int = 0
    """After `dspt gc`."""


def run_drill(
    drill: Drill,
    *,
    database: str,
    repeats: int,
    seed: int,
    logs: Path | None = None,
    done: Callable[[], None] = lambda: None,
) -> Outcome:
    """Do the harm `repeats` times; `done` is called after each.

    What all parts said is kept in `logs` of a repeat that went wrong; then a fresh stack is
    started.
    """
    outcome = Outcome(drill, skipped=drill.needs(database))
    while not outcome.skipped and len(outcome.repeats) < repeats:
        with (
            tempfile.TemporaryDirectory(prefix="dspt-drill-") as folder,
            running_stack(drill.shape, database, Path(folder)) as stack,
        ):
            undisturbed, outcome.undisturbed_seconds = _undisturbed(stack)
            while len(outcome.repeats) < repeats:
                name = f"{drill.name}-{seed}-{len(outcome.repeats)}"
                trial = Trial(stack, random.Random(name), outcome.undisturbed_seconds, name)
                repeat = _repeat(drill, trial, undisturbed)
                outcome.repeats.append(repeat)
                done()
                if not repeat.verdict.right:
                    if logs is not None:
                        stack.keep_logs(logs / name)
                    break
            else:
                stack.collect_garbage()
                outcome.orphans_left += len(orphans(stack))
    return outcome


def _undisturbed(stack: Stack) -> tuple[Tensors, float]:
    """What a job makes, and how long it takes, on workers that have loaded their weights."""
    trial = Trial(stack, random.Random(0), 0.0, "undisturbed")
    for job in [trial.post() for _ in stack.workers]:
        stack.client.until(job, *ENDED, seconds=_LIMIT_SECONDS)
    started = time.monotonic()
    ended = stack.client.until(trial.post(), *ENDED, seconds=_LIMIT_SECONDS)
    seconds = time.monotonic() - started
    assert ended["status"] == "succeeded", f"an undisturbed job failed: {ended['error']}"
    return tensors_of(stack, ended["model_id"])[0], seconds


def _repeat(drill: Drill, trial: Trial, undisturbed: Tensors) -> Repeat:
    stack, verdict = trial.stack, Verdict()
    started = time.monotonic()
    before = orphans(stack)
    try:
        with stack.context.database.read() as session:
            jobs_before = count_jobs(session)
        drill.harm(trial)
        _wait(trial)
        trial.post(epochs=1)  # a further one
        _wait(trial)
        verdict = examine(trial, undisturbed, jobs_before)
        verdict.lost += [f"{key} is not in the storage" for key in sorted(missing(stack))]
        verdict.lost += [f"{part.log.stem} died" for part in stack.parts if not part.alive]
        left = sorted(orphans(stack) - before)
    except (AssertionError, httpx.HTTPError, SQLAlchemyError, subprocess.TimeoutExpired) as error:
        verdict.lost.append(str(error))
        left = []
    return Repeat(trial.moment, time.monotonic() - started, verdict, left)


def _wait(trial: Trial) -> None:
    for job in trial.jobs:
        trial.stack.client.until(job, *ENDED, seconds=_LIMIT_SECONDS)
