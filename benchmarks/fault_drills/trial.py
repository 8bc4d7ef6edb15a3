"""One repeat of a drill: the jobs that are sent, the moment of the harm, what is expected then."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from benchmarks.fault_drills.client import ENDED, Json, request_for
from benchmarks.fault_drills.processes import Part
from benchmarks.fault_drills.stack import Shape, Stack
from tests.acceptance.photos import photos, zipped
from tests.services import wait_until

EPOCHS = 60
"""Of a job that is harmed: two seconds or so of work, most of it in the tuner."""
_STAGES = ("queued", "validating", "encoding", "zero_shot", "tuning", "evaluating", "saving")


@dataclass
class Expected:
    """How a job has to end."""

    ends: Collection[str] = ("succeeded",)
    attempts: Collection[int] = (1,)
    error: str | None = None
    """Code, where it fails."""


@dataclass(frozen=True)
class Death:
    """A worker was killed while it had a job."""

    job_id: str
    at: datetime


@dataclass
class Trial:
    """What a drill works with, and notes down for the examination."""

    stack: Stack
    rng: random.Random
    length: float
    """Seconds that a job takes when nobody disturbs it."""
    name: str
    jobs: dict[str, Expected] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)
    bereaved: list[int] = field(default_factory=list)
    """Processes whose parent was killed; they must not stay for ever."""
    wrong: list[str] = field(default_factory=list)
    """What the drill itself saw go wrong."""
    moment: str = ""
    """What the job was at when the harm was done."""

    @property
    def any_attempts(self) -> range:
        """As many as a job may take without being given up."""
        return range(1, self.stack.settings.max_attempts + 1)

    @property
    def archive(self) -> bytes:
        """The same photos in each trial, in a zip of its own."""
        return archive(self.name)

    def request(self, epochs: int = EPOCHS) -> Json:
        """What the next job is asked for with."""
        return request_for(self.archive, {"epochs": epochs}, f"{self.name}-{len(self.jobs)}")

    def post(self, epochs: int = EPOCHS, attempts: Collection[int] = (1,)) -> str:
        """A job that is taken, perhaps at the second try, and should succeed."""
        job_id = self.stack.client.post(self.request(epochs))
        self.jobs[job_id] = Expected(attempts=attempts)
        return job_id

    def wait_for_moment(self, job_id: str) -> None:
        """A moment in the life of a job: any one by the clock, or any one of its stages."""
        if self.rng.random() < 0.5:
            time.sleep(self.rng.uniform(0, self.length))
        else:
            stage, epoch = self.rng.randrange(len(_STAGES)), self.rng.randrange(EPOCHS)
            wait_until(lambda: self._reached(job_id, stage, epoch), 60, _STAGES[stage])
        self.note_moment(job_id)

    def note_moment(self, job_id: str) -> None:
        """What the job is at now, for the record."""
        job = self.stack.client.job(job_id)
        if job["status"] == "running" and job["progress"]["stage"] == "tuning":
            self.moment = f"tuning, epoch {job['progress']['epoch']}"
        else:
            self.moment = job["progress"]["stage"] if job["status"] == "running" else job["status"]

    def holder(self, job_id: str) -> Part | None:
        """The worker that has the job at this moment, if one has."""
        job = self.stack.client.job(job_id)
        if job["status"] == "queued" or job["status"] in ENDED:
            return None
        takers = self.stack.takers
        wait_until(lambda: len(takers(job_id)) >= job["attempt"], 10, "the log to name the worker")
        return takers(job_id)[-1]

    def died(self, job_id: str) -> None:
        """Note that the worker with this job was killed just now."""
        self.deaths.append(Death(job_id, datetime.now(UTC)))

    def _reached(self, job_id: str, stage: int, epoch: int) -> bool:
        job = self.stack.client.job(job_id)
        if job["status"] in ENDED:
            return True
        now = _STAGES.index(job["progress"]["stage"])
        return now > stage or (now == stage and (job["progress"]["epoch"] or 0) >= epoch)


def archive(name: str) -> bytes:
    """A zip of its own for each name, always with the same photos: dot files are passed over."""
    train = photos("apple", "blueberry", count=6, folder="train/")
    return zipped(train | {".name": name.encode()})


@dataclass(frozen=True)
class Drill:
    """A kind of harm. `harm` posts jobs, does it and undoes it; the jobs then have to end."""

    name: str
    what: str
    harm: Callable[[Trial], None]
    shape: Shape = field(default_factory=Shape)
    needs: Callable[[str], str | None] = lambda database: None
    """Why it cannot be done here, on that database; None if it can."""
