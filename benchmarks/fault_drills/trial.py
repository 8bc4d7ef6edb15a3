"""One repeat of a drill: its jobs, the moment of the fault, and what is expected."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.fault_drills.client import ENDED, Json, request_for
from benchmarks.fault_drills.stack import Shape, Stack
from benchmarks.stack import Part
from tests.acceptance.photos import photos, zipped
from tests.services import wait_until

_STAGES = ("queued", "validating", "encoding", "zero_shot", "tuning", "evaluating", "saving")


@dataclass
class Expected:
    """How a job must end."""

    ends: Collection[str] = ("succeeded",)
    attempts: Collection[int] = (1,)
    error: str | None = None
    """Error code, if it is to fail."""


@dataclass(frozen=True)
class Death:
    """A worker was killed while it had a job."""

    job_id: str
    at: datetime


@dataclass
class Trial:
    """What a drill works with, and what it records for `examine`."""

    stack: Stack
    rng: random.Random
    length: float
    """Seconds that an undisturbed job takes."""
    name: str
    jobs: dict[str, Expected] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)
    bereaved: list[int] = field(default_factory=list)
    """Processes whose parent was killed; they must end by themselves."""
    wrong: list[str] = field(default_factory=list)
    """Errors that the drill itself found."""
    moment: str = ""
    """State or stage of the job at the fault."""

    @property
    def any_attempts(self) -> range:
        """The attempts that a job may take."""
        return range(1, self.stack.settings.max_attempts + 1)

    @property
    def archive(self) -> bytes:
        """The photos, which are the same in each trial, in a zip that differs."""
        return archive(self.name)

    def request(self, epochs: int | None = None) -> Json:
        """Return the arguments of the next POST /jobs."""
        config = {"epochs": epochs or self.stack.epochs}
        return request_for(self.archive, config, f"{self.name}-{len(self.jobs)}")

    def post(self, epochs: int | None = None, attempts: Collection[int] = (1,)) -> str:
        """Submit a job that should succeed; return its id."""
        job_id = self.stack.client.post(self.request(epochs))
        self.jobs[job_id] = Expected(attempts=attempts)
        return job_id

    def wait_for_moment(self, job_id: str) -> None:
        """Wait for a random time or a random stage of the job."""
        if self.rng.random() < 0.5:
            time.sleep(self.rng.uniform(0, self.length))
        else:
            stage, epoch = self.rng.randrange(len(_STAGES)), self.rng.randrange(self.stack.epochs)
            wait_until(lambda: self._reached(job_id, stage, epoch), 60, _STAGES[stage])
        self.note_moment(job_id)

    def note_moment(self, job_id: str) -> None:
        """Record the current stage of the job."""
        job = self.stack.client.job(job_id)
        if job["status"] == "running" and job["progress"]["stage"] == "tuning":
            self.moment = f"tuning, epoch {job['progress']['epoch']}"
        else:
            self.moment = job["progress"]["stage"] if job["status"] == "running" else job["status"]

    def holder(self, job_id: str) -> Part | None:
        """Return the worker that has the job at this moment, if any."""
        job = self.stack.client.job(job_id)
        if job["status"] == "queued" or job["status"] in ENDED:
            return None
        takers = self.stack.takers
        wait_until(lambda: len(takers(job_id)) >= job["attempt"], 10, "the log to name the worker")
        return takers(job_id)[-1]

    def died(self, job_id: str) -> None:
        """Record that the worker with this job has just been killed."""
        self.deaths.append(Death(job_id, datetime.now(UTC)))

    def _reached(self, job_id: str, stage: int, epoch: int) -> bool:
        job = self.stack.client.job(job_id)
        if job["status"] in ENDED:
            return True
        now = _STAGES.index(job["progress"]["stage"])
        return now > stage or (now == stage and (job["progress"]["epoch"] or 0) >= epoch)


def archive(name: str) -> bytes:
    """Return a zip that differs by name and has the same photos: dot files are ignored."""
    train = photos("apple", "blueberry", count=6, folder="train/")
    return zipped(train | {".name": name.encode()})


Harm = Callable[[Trial], None]
"""Submits jobs, injects the fault and repairs it."""
Needs = Callable[[str], str | None]
"""Given the database, return why a drill cannot run on this machine; None if it can."""


@dataclass(frozen=True)
class Drill:
    """A kind of fault."""

    name: str
    what: str
    harm: Harm
    shape: Shape = field(default_factory=Shape)
    needs: Needs = lambda database: None


ALL: list[Drill] = []


def drill(name: str, what: str, **more: Any) -> Callable[[Harm], Harm]:
    """Make a drill of the decorated function; `more`: `shape` and `needs` of Drill."""

    def add(harm: Harm) -> Harm:
        ALL.append(Drill(name, what, harm, **more))
        return harm

    return add
