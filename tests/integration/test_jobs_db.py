"""The steps and the events of jobs, as the database keeps them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from dspt_client.schemas.status import TERMINAL, Status
from sqlalchemy import delete, inspect, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.jobs import repository
from app.kit.context import Context
from app.kit.ids import new_id
from app.tables.job_state import LEASED, STEPS
from app.tables.jobs import Job, JobEvent, JobStep
from app.tables.models import Model
from tests.integration.jobs import (
    ERROR,
    add_job,
    bring_to,
    read_job,
    statuses,
)


def test_the_database_knows_the_same_steps_as_the_code(context: Context) -> None:
    with context.database.read() as session:
        rows = {(row.source, row.target) for row in session.scalars(select(JobStep))}
    assert rows == {(str(s), str(t)) for s, targets in STEPS.items() for t in targets}


@pytest.mark.parametrize("source", list(Status))
def test_the_database_forbids_every_other_step(context: Context, source: Status) -> None:
    for target in set(Status) - STEPS[source] - {source}:
        job_id = bring_to(context, source)
        # All that a CHECK asks of the target is given, so that only the trigger can object.
        values: dict[str, Any] = {
            "status": target,
            "finished_at": datetime.now(UTC) if target in TERMINAL else None,
            "error": ERROR if target is Status.FAILED else None,
            "audit_key": "audits/a.json" if target is Status.SUCCEEDED else None,
            "lease_owner": "x" if target in LEASED else None,
            "lease_renewed_at": datetime.now(UTC) if target in LEASED else None,
        }
        with (
            pytest.raises(IntegrityError, match="a job cannot take this step"),
            context.database.write() as session,
        ):
            session.execute(update(Job).where(Job.id == job_id).values(values))
        assert read_job(context, job_id).status == source


@pytest.mark.parametrize("source", list(Status))
def test_move_takes_legal_steps_only(context: Context, source: Status) -> None:
    for target in Status:
        job_id = bring_to(context, source)
        before = statuses(context, job_id)
        values: dict[str, Any] = {}
        if target is Status.FAILED:
            values["error"] = ERROR
        elif target is Status.SUCCEEDED:
            values["audit_key"] = "audits/a.json"
        elif target is Status.VALIDATING:
            values.update(lease_owner="x", lease_renewed_at=datetime.now(UTC))
        with context.database.write() as session:
            moved = repository.move(session, job_id, target, values=values)
        assert moved is (target in STEPS[source])
        job = read_job(context, job_id)
        assert job.status == (target if moved else source)
        assert statuses(context, job_id) == before + ([target] if moved else [])
        assert (job.finished_at is not None) is (job.status in TERMINAL)
        assert (job.lease_owner is not None) is (job.status in LEASED)


def test_a_job_begins_as_queued(context: Context) -> None:
    job = read_job(context, add_job(context))
    columns = {c.key: getattr(job, c.key) for c in inspect(Job).column_attrs if not c.deferred}
    values = columns | {"id": new_id("job"), "status": "cancelled", "finished_at": job.created_at}
    with (
        pytest.raises(IntegrityError, match="a job begins as queued"),
        context.database.write() as session,
    ):
        session.add(Job(**values))


@pytest.mark.parametrize(
    "values",
    [
        {"status": "asleep"},
        {"attempt": -1},
        {"finished_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"error": ERROR},
        {"lease_owner": "x", "lease_renewed_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"audit_key": "audits/a.json"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_the_database_refuses_contradictions(context: Context, values: dict[str, Any]) -> None:
    job_id = add_job(context)
    with pytest.raises(IntegrityError), context.database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(values))


def test_events_cannot_be_changed_or_removed(context: Context) -> None:
    job_id = bring_to(context, Status.SUCCEEDED)
    for statement in (
        update(JobEvent).values(type="progress"),
        delete(JobEvent).where(JobEvent.job_id == job_id),
    ):
        with (
            pytest.raises(DBAPIError, match="append-only"),
            context.database.write() as session,
        ):
            session.execute(statement)
    if context.database.engine.dialect.name == "postgresql":
        with pytest.raises(DBAPIError, match="append-only"), context.database.write() as session:
            session.execute(text("TRUNCATE job_events"))
    assert statuses(context, job_id) == ["queued", "validating", "running", "succeeded"]


def test_events_go_with_their_job_and_the_model_stays(context: Context) -> None:
    job_id = bring_to(context, Status.SUCCEEDED)
    with context.database.write() as session:
        assert repository.remove(session, job_id)
    with context.database.read() as session:
        assert repository.events(session, job_id, after=0, limit=10) == []
        assert [model.job_id for model in session.scalars(select(Model))] == [None]


@pytest.mark.parametrize("status", sorted(set(Status) - TERMINAL))
def test_an_unfinished_job_cannot_be_deleted(context: Context, status: Status) -> None:
    job_id = bring_to(context, status)
    with context.database.write() as session:
        assert not repository.remove(session, job_id)
    with (
        pytest.raises(IntegrityError, match="only a finished job can be deleted"),
        context.database.write() as session,
    ):
        session.execute(delete(Job).where(Job.id == job_id))


def test_events_are_numbered_within_the_job(context: Context) -> None:
    first, second = bring_to(context, Status.RUNNING), bring_to(context, Status.RUNNING)
    with context.database.read() as session:
        for job_id in (first, second):
            seqs = [e.seq for e in repository.events(session, job_id, after=0, limit=10)]
            assert seqs == [1, 2, 3]
        assert [e.seq for e in repository.events(session, first, after=1, limit=1)] == [2]


def test_many_events_at_once_get_each_its_own_number(context: Context) -> None:
    job_id = bring_to(context, Status.RUNNING)

    def append() -> None:
        for _ in range(10):
            with context.database.write() as session:
                repository.add_event(session, job_id, "metrics", {"loss": 0.5})

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with context.database.read() as session:
        events = repository.events(session, job_id, after=0, limit=100)
    assert [event.seq for event in events] == list(range(1, 44))
