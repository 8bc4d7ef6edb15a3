"""The state machine, the leases and the events, as the database keeps them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.datasets.tables import Dataset
from app.jobs import repository, workers
from app.jobs.housekeeping import reap, relay
from app.jobs.lease import Lease, StepRefusedError
from app.jobs.state import LEASED, STEPS, TERMINAL, Status
from app.jobs.tables import Job, JobEvent, JobStep, OutboxEntry, Worker
from app.kit.context import Context
from app.kit.ids import new_id
from app.models.tables import Model

ERROR = {"code": "x", "message": "y", "param": None, "problems": []}


def add_job(context: Context) -> str:
    with context.database.write() as session:
        dataset = Dataset(
            id=new_id("ds"),
            sha256=new_id("x"),
            size_bytes=1,
            filename="a.zip",
            created_at=datetime.now(UTC),
        )
        session.add(dataset)
        session.flush()
        job = Job(
            id=new_id("job"),
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


def claim(context: Context, job_id: str) -> Lease:
    lease = Lease.claim(context, job_id, "worker")
    assert lease is not None
    return lease


def make_model(job_id: str) -> Model:
    return Model(
        id=new_id("mdl"),
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


def expire(context: Context, job_id: str) -> None:
    with context.database.write() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(Job).where(Job.id == job_id).values(lease_expires_at=past))


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
            lease.succeed(make_model(job_id), config={}, metrics={}, audit_key="audits/a.json")
    elif status is Status.FAILED:
        lease.fail(ERROR)
    else:
        with context.database.write() as session:
            assert repository.move(session, job_id, Status.CANCELLING)
        if status is Status.CANCELLED:
            lease.cancelled()
    return job_id


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
            "lease_expires_at": datetime.now(UTC) if target in LEASED else None,
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
            values.update(lease_owner="x", lease_expires_at=datetime.now(UTC))
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
    columns = {c.name: getattr(job, c.name) for c in Job.__table__.columns}
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
        {"lease_owner": "x", "lease_expires_at": datetime(2026, 1, 1, tzinfo=UTC)},
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


def test_only_one_of_many_workers_gets_a_job(context: Context) -> None:
    job_id = add_job(context)
    barrier = threading.Barrier(8)
    leases: list[Lease | None] = []

    def take(number: int) -> None:
        barrier.wait()
        leases.append(Lease.claim(context, job_id, f"worker{number}"))

    threads = [threading.Thread(target=take, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [lease for lease in leases if lease is not None]
    assert len(leases) == 8
    assert len(winners) == 1
    job = read_job(context, job_id)
    assert (job.lease_owner, job.attempt) == (winners[0].owner, 1)
    assert statuses(context, job_id) == ["queued", "validating"]


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


def test_a_lease_is_renewed_until_it_is_lost(context: Context) -> None:
    job_id = add_job(context)
    lease = claim(context, job_id)
    expire(context, job_id)
    assert lease.renew()
    assert reap(context) == 0
    expire(context, job_id)
    assert reap(context) == 1
    assert not lease.renew()
    assert lease.wish().lost


def test_a_worker_that_lost_its_lease_cannot_write(context: Context) -> None:
    job_id = add_job(context)
    late = claim(context, job_id)
    expire(context, job_id)
    assert reap(context) == 1
    claim(context, job_id)
    writes = [
        lambda: late.start_running({}),
        lambda: late.report([("metrics", {})], progress=None, warnings=[]),
        lambda: late.fail(ERROR),
        lambda: late.release(),
        lambda: late.cancelled(),
    ]
    before = read_job(context, job_id)
    for write in writes:
        with pytest.raises(StepRefusedError):
            write()
    after = read_job(context, job_id)
    assert (after.status, after.event_seq) == (before.status, before.event_seq)
    assert after.attempt == 2


def test_succeed_after_a_cancel_changes_nothing(context: Context) -> None:
    job_id = add_job(context)
    lease = claim(context, job_id)
    lease.start_running({"images": 2})
    with context.database.write() as session:
        assert repository.move(session, job_id, Status.CANCELLING)
    with pytest.raises(StepRefusedError):
        lease.succeed(make_model(job_id), config={}, metrics={}, audit_key="audits/a.json")
    with context.database.read() as session:
        assert session.scalars(select(Model)).all() == []
    wish = lease.wish()
    assert (wish.cancel, wish.lost) == (True, False)
    lease.cancelled()
    assert read_job(context, job_id).status == "cancelled"


def test_a_lost_job_is_tried_again_and_fails_at_the_third_loss(context: Context) -> None:
    job_id = add_job(context)
    for attempt in (1, 2, 3):
        assert claim(context, job_id)
        assert read_job(context, job_id).attempt == attempt
        expire(context, job_id)
        assert reap(context) == 1
        assert reap(context) == 0
    job = read_job(context, job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "worker_lost"
    assert "3 times" in job.error["message"]
    assert statuses(context, job_id) == ["queued", "validating"] * 3 + ["failed"]


def test_a_lost_job_that_was_being_cancelled_is_cancelled(context: Context) -> None:
    job_id = bring_to(context, Status.CANCELLING)
    expire(context, job_id)
    assert reap(context) == 1
    assert read_job(context, job_id).status == "cancelled"


def test_a_job_given_back_does_not_count_as_an_attempt(context: Context) -> None:
    job_id = add_job(context)
    claim(context, job_id).release()
    job = read_job(context, job_id)
    assert (job.status, job.attempt, job.lease_owner) == ("queued", 0, None)
    assert job.started_at is not None
    with context.database.read() as session:
        assert session.get(OutboxEntry, job_id) is not None


def test_a_report_shows_on_the_job_and_among_its_events(context: Context) -> None:
    job_id = bring_to(context, Status.QUEUED)
    lease = claim(context, job_id)
    progress = {"stage": "tuning", "epoch": 1, "epochs": 3, "fraction": 0.5, "eta_seconds": 2.5}
    lease.report(
        [("metrics", {"loss": 0.25}), ("progress", progress)], progress=progress, warnings=["hm"]
    )
    job = read_job(context, job_id)
    assert job.progress == progress
    assert job.warnings == ["hm"]
    with context.database.read() as session:
        events = repository.events(session, job_id, after=2, limit=10)
    assert [(e.type, e.data) for e in events] == [
        ("metrics", {"loss": 0.25}),
        ("progress", progress),
    ]


def test_the_wish_to_release_comes_from_the_workers_row(context: Context) -> None:
    job_id = add_job(context)
    lease = claim(context, job_id)
    assert lease.wish().release is False
    with context.database.write() as session:
        workers.report(session, "worker", stopping=False)
    assert lease.wish().release is False
    with context.database.write() as session:
        workers.report(session, "worker", stopping=True)
    assert lease.wish().release is True


def test_a_worker_is_alive_while_it_reports(context: Context) -> None:
    def alive() -> bool:
        with context.database.read() as session:
            return workers.any_alive(session, context.settings)

    assert not alive()
    with context.database.write() as session:
        workers.report(session, "w1", stopping=False)
    assert alive()
    with context.database.write() as session:
        workers.report(session, "w1", stopping=True)
    assert not alive()
    with context.database.write() as session:
        workers.report(session, "w2", stopping=False)
        old = datetime.now(UTC) - timedelta(seconds=context.settings.worker_alive_seconds + 1)
        session.execute(update(Worker).where(Worker.id == "w2").values(seen_at=old))
    assert not alive()
    with context.database.write() as session:
        workers.leave(session, "w1")
        workers.leave(session, "w2")
    with context.database.read() as session:
        assert session.scalars(select(Worker)).all() == []


def test_the_outbox_sends_each_queued_job_once(context: Context) -> None:
    first, second = add_job(context), add_job(context)
    sent: list[str] = []
    assert relay(context, sent.append) == 2
    assert relay(context, sent.append) == 0
    assert sent == [first, second]


def test_what_could_not_be_sent_stays_in_the_outbox(context: Context) -> None:
    first, second = add_job(context), add_job(context)
    sent: list[str] = []

    def send(job_id: str) -> None:
        if job_id == second:
            raise ConnectionError
        sent.append(job_id)

    with pytest.raises(ConnectionError):
        relay(context, send)
    assert sent == [first]
    assert relay(context, sent.append) == 1
    assert sent == [first, second]


def test_a_job_queued_for_long_is_sent_again(context: Context) -> None:
    job_id = add_job(context)
    sent: list[str] = []
    relay(context, sent.append)
    with context.database.write() as session:
        long_ago = datetime.now(UTC) - timedelta(seconds=context.settings.resend_seconds + 1)
        session.execute(update(OutboxEntry).values(sent_at=long_ago))
    relay(context, sent.append)
    assert sent == [job_id, job_id]


def test_a_job_that_left_the_queue_is_not_sent(context: Context) -> None:
    taken, cancelled = add_job(context), add_job(context)
    claim(context, taken)
    with context.database.write() as session:
        repository.move(session, cancelled, Status.CANCELLED, when=[Status.QUEUED])
    assert relay(context, lambda job_id: pytest.fail(job_id)) == 0
