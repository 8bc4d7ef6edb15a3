"""Jobs a second, and checks that jobs ended once, complete, and that nothing else was left."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from dspt_client.schemas.status import TERMINAL, Status
from sqlalchemy import select

from app.kit import storage_keys
from app.tables.job_state import STEPS
from app.tables.jobs import Job, JobEvent
from app.tables.models import Model
from benchmarks.scale.cluster import Cluster
from benchmarks.skeleton.program import BenchmarkError

JOBS_PER_HOST = 8


def jobs_per_second(
    cluster: Cluster, hosts: int, epochs: int, harm: Callable[[list[str]], None] = lambda jobs: None
) -> float:
    """Run jobs on `hosts` worker hosts; `harm` is called once they are submitted.

    Raises BenchmarkError if a job is lost or done twice.
    """
    cluster.start(workers=hosts)
    cluster.wait(cluster.post(2 * hosts, epochs=1))  # all workers have begun to work
    jobs = cluster.post(JOBS_PER_HOST * hosts, epochs)
    harm(jobs)
    cluster.wait(jobs, 900)
    if wrong := faults(cluster, jobs):
        raise BenchmarkError("\n".join(wrong))
    return len(jobs) / seconds_of(cluster, jobs)


def faults(cluster: Cluster, jobs: Sequence[str]) -> list[str]:
    """Return what is wrong with these jobs, which should have succeeded, and with the bucket."""
    return list(_faults(cluster, jobs))


def _faults(cluster: Cluster, jobs: Sequence[str]) -> Iterator[str]:
    with cluster.context.database.read() as session:
        rows = {row.id: row for row in session.scalars(select(Job))}
        models = session.scalars(select(Model)).all()
    for extra in rows.keys() - cluster.posted:
        yield f"{extra} was submitted twice"
    for job_id in jobs:
        row = rows.get(job_id)
        if row is None or row.status != Status.SUCCEEDED:
            yield f"{job_id} is {row and (row.status, row.error)}"
        numbers = [event.seq for event in events_of(cluster, job_id)]
        if row and numbers != list(range(1, row.event_seq + 1)):
            yield f"{job_id} has events {numbers}"
        statuses = statuses_of(cluster, job_id)
        if sum(status in TERMINAL for status in statuses) != 1:
            yield f"{job_id} ended more than once: {statuses}"
        for one, following in pairwise(statuses):
            if following not in STEPS[one]:
                yield f"{job_id} went from {one} to {following}"
        made = [model for model in models if model.job_id == job_id]
        if len(made) != 1:
            yield f"{job_id} has {len(made)} models"
    stored = {file.name for file in cluster.context.storage.files()}
    wanted = {storage_keys.model(model.id) for model in models}
    for name in sorted({name for name in stored if name.startswith("models/")} ^ wanted):
        yield f"{name} is {'not ' if name in wanted else ''}in the bucket"
    for model in models:
        content = cluster.context.storage.read_bytes(model.storage_key)
        if hashlib.sha256(content).hexdigest() != model.sha256:
            yield f"{model.storage_key} is damaged"


def statuses_of(cluster: Cluster, job_id: str) -> list[Status]:
    """Return the states that the job went through."""
    events = events_of(cluster, job_id)
    return [Status(event.data["status"]) for event in events if event.type == "status"]


def seconds_of(cluster: Cluster, jobs: Sequence[str]) -> float:
    """Return the seconds from the first start of a job to the last end."""
    rows = cluster.rows(jobs).values()
    begun = [row.started_at for row in rows if row.started_at]
    ended = [row.finished_at for row in rows if row.finished_at]
    return (max(ended) - min(begun)).total_seconds()


def events_of(cluster: Cluster, job_id: str) -> Sequence[JobEvent]:
    """Return all events of the job, in order."""
    with cluster.context.database.read() as session:
        query = select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.seq)
        return session.scalars(query).all()
