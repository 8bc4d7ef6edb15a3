"""The service's own code under the names of job_model, and what the tables show."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from dspt_client.schemas.status import Status
from sqlalchemy import select

from app.access.caller import LOCAL
from app.datasets import service as datasets
from app.jobs import service
from app.jobs.intake.requests import JobRequest
from app.jobs.lifecycle.lease import JobLease
from app.kit.context import Context
from app.kit.http.errors import ApiError
from app.leased.lease import StepRefusedError
from app.tables.datasets import Dataset
from app.tables.job_state import LEASED, STEPS
from app.tables.jobs import Job, JobEvent, OutboxEntry
from app.tables.models import Model
from tests.integration.conftest import zip_of
from tests.integration.job_model import DONE, MAX_ATTEMPTS, REFUSED, Seen
from tests.integration.jobs import ERROR, make_model

#: Zips to submit; jobs on the same one share a data set.
ZIPS = [zip_of({f"cat/{number}.png": b"not looked at"}) for number in range(2)]
_REQUEST = JobRequest(name=None, config={"backbone": "builtin"}, class_names=None)


def submit(context: Context, zip_file: bytes, key: str | None) -> tuple[str, str]:
    """How it went, and the id of the job if there is one."""
    with tempfile.TemporaryFile() as file:
        file.write(zip_file)
        upload = datasets.receive(file, "pets.zip")
        try:
            created = service.create(context, LOCAL, _REQUEST, upload, key)
        except ApiError as error:
            return error.code, ""
    return ("replayed" if created.replayed else DONE), created.view.id


@dataclass
class JobCalls:
    """One job in the database."""

    context: Context
    job_id: str
    leases: list[JobLease] = field(default_factory=list)

    def claim(self) -> str:
        lease = JobLease.claim(self.context, self.job_id, "worker")
        if lease is None:
            return REFUSED
        self.leases.append(lease)
        return DONE

    def start(self, claim: int) -> str:
        return _done(lambda: self.leases[claim].start_running({"images": 2}))

    def report(self, claim: int) -> str:
        progress = {"stage": "tuning"}
        events = [("metrics", {"loss": 0.5}), ("progress", progress)]
        lease = self.leases[claim]
        return _done(lambda: lease.report(events, progress=progress, warnings=["hm"]))

    def succeed(self, claim: int) -> str:
        return _done(
            lambda: self.leases[claim].succeed(
                make_model(self.job_id), config={}, metrics={}, audit_key="audits/a.json"
            )
        )

    def fail(self, claim: int) -> str:
        return _done(lambda: self.leases[claim].fail(ERROR))

    def confirm_cancel(self, claim: int) -> str:
        return _done(self.leases[claim].cancelled)

    def release(self, claim: int) -> str:
        return _done(self.leases[claim].release)

    def renew(self, claim: int) -> str:
        return DONE if self.leases[claim].renew() else REFUSED

    def wish(self, claim: int) -> str:
        wish = self.leases[claim].stop_request()
        return f"cancel={wish.cancel} lost={wish.lost}"

    def cancel(self) -> str:
        return _done(lambda: service.cancel(self.context, LOCAL, self.job_id))

    def retry(self) -> str:
        return _done(lambda: service.retry(self.context, LOCAL, self.job_id))

    def delete(self) -> str:
        return _done(lambda: service.delete(self.context, LOCAL, self.job_id))

    def holder(self, lease_owner: str | None) -> int | None:
        """Number of the claim that drew this lease; ValueError if it was not drawn here."""
        if lease_owner is None:
            return None
        return [lease.owner for lease in self.leases].index(lease_owner)


def _done(call: Callable[[], object]) -> str:
    try:
        call()
    except StepRefusedError:
        return REFUSED
    except ApiError as error:
        return error.code
    return DONE


def jobs_seen(context: Context, calls: Sequence[JobCalls]) -> list[Seen | None]:
    """The jobs as the tables show them, None for one that is gone.

    Checked for what has to hold whatever happened before.
    """
    with context.database.read() as session:
        jobs = {job.id: job for job in session.scalars(select(Job))}
        rows = session.scalars(select(JobEvent).order_by(JobEvent.job_id, JobEvent.seq)).all()
        sent = {row.job_id: row.sent_at is not None for row in session.scalars(select(OutboxEntry))}
        models = Counter(session.scalars(select(Model.job_id)).all())
        used = set(session.scalars(select(Dataset.id)).all())
    assert jobs.keys() <= {call.job_id for call in calls}
    assert used == {job.dataset_id for job in jobs.values()}
    events: dict[str, list[JobEvent]] = {job_id: [] for job_id in jobs}
    for row in rows:
        events[row.job_id].append(row)
    for job in jobs.values():
        _check(job, events[job.id], queued=job.id in sent, models=models[job.id])
    return [
        Seen(
            status=jobs[call.job_id].status,
            attempt=jobs[call.job_id].attempt,
            events=tuple(_shown(event) for event in events[call.job_id]),
            holder=call.holder(jobs[call.job_id].lease_owner),
            outbox=sent.get(call.job_id),
            models=models[call.job_id],
        )
        if call.job_id in jobs
        else None
        for call in calls
    ]


def _check(job: Job, events: Sequence[JobEvent], *, queued: bool, models: int) -> None:
    status = Status(job.status)
    walk = [Status(event.data["status"]) for event in events if event.type == "status"]
    assert [event.seq for event in events] == list(range(1, job.event_seq + 1))
    assert walk[0] is Status.QUEUED
    assert walk[-1] is status
    assert all(target in STEPS[source] for source, target in pairwise(walk))
    assert 0 <= job.attempt <= MAX_ATTEMPTS
    assert queued is (status is Status.QUEUED)
    assert (job.lease_owner is not None) is (status in LEASED)
    assert models == (status is Status.SUCCEEDED)


def _shown(event: JobEvent) -> tuple[str, int | None] | str:
    if event.type != "status":
        return event.type
    return event.data["status"], event.data.get("attempt")
