"""Jobs made by hand, and brought into a state by legal steps."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dspt_client.schemas.status import Status

from app.jobs import repository
from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor
from app.jobs.lifecycle.lease import JobLease
from app.jobs.lifecycle.reaper import Reaper
from app.jobs.repository import JOBS
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.ids import new_id
from app.tables.datasets import Dataset
from app.tables.jobs import Job
from app.tables.models import Model

ERROR: dict[str, Any] = {"code": "x", "message": "y", "param": None, "problems": []}


def add_job(context: Context, owner: str = "local") -> str:
    with context.database.write() as session:
        dataset = Dataset(
            id=new_id("ds"),
            owner=owner,
            sha256="0" * 64,
            identity=new_id("x"),
            size_bytes=1,
            filename="a.zip",
            created_at=datetime.now(UTC),
        )
        session.add(dataset)
        session.flush()
        job = Job(
            id=new_id("job"),
            owner=owner,
            name="a",
            created_at=datetime.now(UTC),
            attempt=0,
            dataset_id=dataset.id,
            config={"epochs": 3},
            warnings=[],
            event_seq=0,
            request_sha256="0" * 64,
        )
        repository.add(session, job)
        return job.id


def read_job(context: Context, job_id: str) -> Job:
    with context.database.read() as session:
        job = repository.get(session, job_id)
    assert job is not None
    return job


def statuses(context: Context, job_id: str) -> list[str]:
    with context.database.read() as session:
        events = repository.events(session, job_id, after=0, limit=100)
        return [event.data["status"] for event in events if event.type == "status"]


def claim(context: Context, job_id: str) -> JobLease:
    lease = JobLease.claim(context, job_id, "worker")
    assert lease is not None
    return lease


def make_model(job_id: str) -> Model:
    return Model(
        id=new_id("mdl"),
        owner="local",
        name="a",
        job_id=job_id,
        created_at=datetime.now(UTC),
        backbone="builtin",
        backbone_digest="0" * 64,
        classes=["cat", "dog"],
        config={},
        metrics={},
        served="tuned",
        dataset_sha256="0" * 64,
        size_bytes=3,
        sha256="0" * 64,
    )


class Watch:
    """A reaper whose clock the test sets."""

    def __init__(self, context: Context) -> None:
        self._seconds = 0.0
        # As if it looked all the time: how gaps count is a matter of its own.
        self._reaper = Reaper(context, JOBS)
        self._reaper._monitor = HeartbeatMonitor(float("inf"), lambda: self._seconds)
        self._lease_seconds = context.settings.lease_seconds

    def reap(self, *, after: float = 0.0) -> int:
        """Look once, `after` times the length of a lease later."""
        self._seconds += after * self._lease_seconds
        return self._reaper.reap()


def lose(context: Context) -> int:
    """Take back whatever is leased, as if all workers had died; returns how many."""
    watch = Watch(context)
    watch.reap()
    return watch.reap(after=1)


def bring_to(context: Context, status: Status) -> str:
    """A job in the given state, by legal steps."""
    job_id = add_job(context)
    if status is Status.QUEUED:
        return job_id
    lease = claim(context, job_id)
    if status is Status.VALIDATING:
        return job_id
    if status in (Status.RUNNING, Status.SUCCEEDED):
        lease.start_running({"images": 2})
        if status is Status.SUCCEEDED:
            model = make_model(job_id)
            audit_key = storage_keys.audit(model.id)
            lease.succeed(model, config={}, metrics={}, audit_key=audit_key)
    elif status is Status.FAILED:
        lease.fail(ERROR)
    else:
        with context.database.write() as session:
            assert repository.move(session, job_id, Status.CANCELLING)
        if status is Status.CANCELLED:
            lease.cancelled()
    return job_id


def files_in(context: Context) -> set[str]:
    """Keys of all that is stored, without the id of the installation."""
    root = Path(context.storage.url.removeprefix("file://"))
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return files - {storage_keys.INSTALLATION}


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Check that the answer is this problem document; returns it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["type"] in (f"/errors/{code}", "/errors/invalid_corrections")
    assert set(body) == {"type", "title", "status", "detail", "code", "errors"}
    return body
