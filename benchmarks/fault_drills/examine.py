"""Checks that the jobs of a trial ended once, complete, and without leftovers.

Leftovers are files without a database row, and rows without a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import torch
from dspt_client.schemas.status import TERMINAL, Status
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from torch import Tensor

from app.kit.scratch import abandoned
from app.kit.storage_keys import is_own
from app.tables.datasets import Dataset
from app.tables.job_state import STEPS
from app.tables.jobs import Job, JobEvent
from app.tables.models import Model
from benchmarks.fault_drills.stack import Stack
from benchmarks.fault_drills.trial import Expected, Trial
from dspt.errors import ArtifactError
from dspt.model.artifact import load_model
from tests.services import wait_until

Tensors = dict[str, Tensor]


@dataclass
class Verdict:
    """The result of one trial."""

    lost: list[str] = field(default_factory=list)
    """Jobs that did not end as expected, or not complete."""
    doubled: list[str] = field(default_factory=list)
    """What happened twice or exists twice."""
    resumed: int = 0
    """Jobs that were started again and succeeded."""
    identical: int = 0
    """Of the resumed ones: how many have exactly the tensors of an undisturbed job."""
    requeue_heartbeats: list[float] = field(default_factory=list)
    """Heartbeats from the death of a worker until its job was queued again, or ended."""

    @property
    def right(self) -> bool:
        return not (self.lost or self.doubled)


def examine(trial: Trial, undisturbed: Tensors, jobs_before: int) -> Verdict:
    """Check all jobs of a trial, which must have ended, in database, storage and API."""
    verdict = Verdict()
    with trial.stack.context.database.read() as session:
        for job_id, expected in trial.jobs.items():
            _Examination(verdict, trial.stack, session, job_id, expected).run(undisturbed)
        made = count_jobs(session) - jobs_before
        if made != len(trial.jobs):
            verdict.doubled.append(f"{len(trial.jobs)} requests made {made} jobs")
        digest = hashlib.sha256(trial.archive).hexdigest()
        copies = session.scalar(select(func.count()).where(Dataset.sha256 == digest))
        if copies != 1:
            verdict.doubled.append(f"the zip is stored as {copies} data sets")
        verdict.requeue_heartbeats = list(_requeues(trial, session))
    for pid in trial.bereaved:
        wait_until(partial(_gone, pid), 20, f"process {pid} to end after its parent")
    return verdict


def count_jobs(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Job)) or 0


def tensors_of(stack: Stack, model_id: str) -> tuple[Tensors, str]:
    """Download an artefact; return its tensors and its SHA-256.

    Raises httpx.HTTPStatusError or ArtifactError.
    """
    response = stack.client.send("GET", f"/models/{model_id}/artifact").raise_for_status()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(response.content)
        model = load_model(path)
    tensors = {"context": model.context}
    if model.blend is not None:
        tensors |= {"matrix": model.blend.matrix, "bias": model.blend.bias}
    return tensors, hashlib.sha256(response.content).hexdigest()


def same(one: Tensors, other: Tensors) -> bool:
    """Return whether all tensors are equal, bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@dataclass
class _Examination:
    """The checks of one job."""

    verdict: Verdict
    stack: Stack
    session: Session
    job_id: str
    expected: Expected

    def run(self, undisturbed: Tensors) -> None:
        job = self.session.get(Job, self.job_id)
        if job is None:
            self._lost("does not exist any more")
            return
        events = self.session.scalars(
            select(JobEvent).where(JobEvent.job_id == job.id).order_by(JobEvent.seq)
        ).all()
        self._end(job)
        self._numbers(job, events)
        self._walk(job, events)
        models = self.session.scalars(select(Model).where(Model.job_id == job.id)).all()
        wanted = 1 if job.status == Status.SUCCEEDED else 0
        if len(models) > wanted:
            self._doubled(f"has {len(models)} models and status {job.status}")
        elif len(models) < wanted:
            self._lost("succeeded without a model")
        elif models:
            self._artifact(job, models[0], events, undisturbed)

    def _end(self, job: Job) -> None:
        code = job.error["code"] if job.error else None
        if job.status not in self.expected.ends or code != self.expected.error:
            self._lost(f"ended {job.status} ({code}), expected {'/'.join(self.expected.ends)}")
        if job.attempt not in self.expected.attempts:
            self._lost(
                f"took {job.attempt} attempts, expected one of {list(self.expected.attempts)}"
            )

    def _numbers(self, job: Job, events: Sequence[JobEvent]) -> None:
        numbers = [event.seq for event in events]
        if numbers != list(range(1, job.event_seq + 1)):
            self._lost(f"has events {numbers}, expected 1 to {job.event_seq}")

    def _walk(self, job: Job, events: Sequence[JobEvent]) -> None:
        statuses = [Status(event.data["status"]) for event in events if event.type == "status"]
        if statuses[:1] != [Status.QUEUED] or statuses[-1:] != [Status(job.status)]:
            self._lost(f"has transitions {statuses} and status {job.status}")
        for one, next_one in pairwise(statuses):
            if next_one not in STEPS[one]:
                self._lost(f"has the invalid transition {one} to {next_one}")
        last_queued = len(statuses) - statuses[::-1].index(Status.QUEUED)
        ends = [status for status in statuses[last_queued:] if status in TERMINAL]
        if len(ends) != 1:
            self._doubled(f"ended {len(ends)} times: {ends}")

    def _artifact(
        self, job: Job, model: Model, events: Sequence[JobEvent], undisturbed: Tensors
    ) -> None:
        try:
            tensors, sha256 = tensors_of(self.stack, model.id)
        except httpx.HTTPStatusError as error:
            self._lost(f"has an artefact that cannot be downloaded: {error.response.text}")
            return
        except ArtifactError as error:
            self._lost(f"has a damaged artefact: {error}")
            return
        if sha256 != model.sha256:
            self._lost("has an artefact whose digest differs from its row")
        audit = self.stack.client.send("GET", f"/jobs/{job.id}/audit")
        if audit.status_code != 200 or not audit.json()["entries"]:
            self._lost(f"has no audit: {audit.text}")
        if job.config["epochs"] != self.stack.epochs:
            return
        identical = same(tensors, undisturbed)
        if not identical:
            self._lost("has tensors that differ from an undisturbed job")
        if sum(event.data.get("status") == Status.VALIDATING for event in events) > 1:
            self.verdict.resumed += 1
            self.verdict.identical += identical

    def _lost(self, what: str) -> None:
        self.verdict.lost.append(f"job {self.job_id} {what}")

    def _doubled(self, what: str) -> None:
        self.verdict.doubled.append(f"job {self.job_id} {what}")


def _requeues(trial: Trial, session: Session) -> Iterator[float]:
    heartbeat = trial.stack.settings.heartbeat_seconds
    for death in trial.deaths:
        events = session.scalars(
            select(JobEvent)
            .where(
                JobEvent.job_id == death.job_id,
                JobEvent.type == "status",
                JobEvent.created_at > death.at,
            )
            .order_by(JobEvent.seq)
        ).all()
        # Otherwise the job ended as the worker died, or the child of the dead worker finished it.
        if events and events[0].data["status"] != Status.SUCCEEDED:
            yield (events[0].created_at - death.at).total_seconds() / heartbeat


def _gone(pid: int) -> bool:
    """Return whether the process has ended; a zombie counts as ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def orphans(stack: Stack) -> set[str]:
    """Return stored files without a row, and files that workers left of jobs that have ended.

    Does not use the service's own `dspt gc`.
    """
    with stack.context.database.read() as session:
        keys = _keys(session)
        jobs = session.scalars(select(Job)).all()
    at_work = {job.id for job in jobs if job.status not in TERMINAL}
    settings = stack.settings
    return {
        *(name for name in _files(settings.data_dir / "storage") - keys if is_own(name)),
        *(
            f"checkpoint {name}"
            for name in _files(settings.checkpoint_dir)
            if name.removeprefix(".").partition(".")[0] not in at_work
        ),
        *(f"scratch {folder.name}" for folder in abandoned(settings.scratch_dir)),
    }


def missing(stack: Stack) -> set[str]:
    """Return files that a row refers to but that do not exist."""
    with stack.context.database.read() as session:
        return _keys(session) - _files(stack.settings.data_dir / "storage")


def _keys(session: Session) -> set[str]:
    keys = {dataset.storage_key for dataset in session.scalars(select(Dataset))}
    keys |= {model.storage_key for model in session.scalars(select(Model))}
    for column in (Job.audit_key, Job.predictions_key):
        keys |= {key for key in session.scalars(select(column)) if key is not None}
    return keys


def _files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
