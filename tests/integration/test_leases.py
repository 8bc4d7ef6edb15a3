"""Who holds a job, and what happens when the holder is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from dspt_client.schemas.status import Status
from sqlalchemy import select, update

from app.jobs import repository
from app.jobs.lifecycle import workers
from app.jobs.lifecycle.lease import JobLease
from app.kit.context import Context
from app.leased.lease import StepRefusedError
from app.tables.jobs import OutboxEntry, Worker
from app.tables.models import Model
from tests.integration.jobs import (
    ERROR,
    Watch,
    add_job,
    bring_to,
    claim,
    lose,
    make_model,
    read_job,
    statuses,
)


def test_only_one_of_many_workers_gets_a_job(context: Context) -> None:
    job_id = add_job(context)
    barrier = threading.Barrier(8)
    leases: list[JobLease | None] = []

    def take(number: int) -> None:
        barrier.wait()
        leases.append(JobLease.claim(context, job_id, f"worker{number}"))

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


def claimed(context: Context) -> str | None:
    lease = JobLease.claim_next(context, "worker")
    return lease.id if lease else None


def test_owners_take_turns_and_within_an_owner_the_oldest_job_is_next(context: Context) -> None:
    anns = sorted(add_job(context, owner="ann") for _ in range(3))
    bobs = sorted(add_job(context, owner="bob") for _ in range(2))
    zoes = add_job(context, owner="zoe")
    order = [anns[0], bobs[0], zoes, anns[1], bobs[1], anns[2]]
    for job_id in order:  # one worker: each job ends before the next one is claimed
        assert claimed(context) == job_id
        JobLease(context, job_id, read_job(context, job_id).lease_owner or "", "worker").fail(ERROR)
    assert claimed(context) is None


def test_an_owner_with_running_jobs_waits_for_others(context: Context) -> None:
    anns = sorted(add_job(context, owner="ann") for _ in range(3))
    bobs = add_job(context, owner="bob")
    assert [claimed(context) for _ in range(4)] == [anns[0], bobs, anns[1], anns[2]]


def test_a_job_taken_back_keeps_its_place(context: Context) -> None:
    first, second = add_job(context, owner="ann"), add_job(context, owner="bob")
    assert claimed(context) == first
    assert lose(context) == 1
    assert claimed(context) == first
    assert claimed(context) == second


def test_many_workers_claim_each_job_once(context: Context) -> None:
    jobs = sorted(add_job(context) for _ in range(12))
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda _: claimed(context), range(15)))
    assert sorted(job for job in found if job) == jobs
    assert found.count(None) == 3


def test_a_lease_is_renewed_until_it_is_lost(context: Context) -> None:
    job_id = add_job(context)
    lease = claim(context, job_id)
    watch = Watch(context)
    assert watch.reap() == 0
    assert watch.reap(after=0.9) == 0
    assert lease.renew()
    assert watch.reap(after=0.9) == 0
    assert watch.reap(after=0.9) == 0
    assert watch.reap(after=0.2) == 1
    assert not lease.renew()
    assert lease.stop_request().lost


def test_a_worker_that_lost_its_lease_cannot_write(context: Context) -> None:
    job_id = add_job(context)
    late = claim(context, job_id)
    assert lose(context) == 1
    claim(context, job_id)
    writes: list[Callable[[], None]] = [
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
    wish = lease.stop_request()
    assert (wish.cancel, wish.lost) == (True, False)
    lease.cancelled()
    assert read_job(context, job_id).status == "cancelled"


def test_a_lost_job_is_tried_again_and_fails_at_the_third_loss(context: Context) -> None:
    job_id = add_job(context)
    for attempt in (1, 2, 3):
        assert claim(context, job_id)
        assert read_job(context, job_id).attempt == attempt
        assert lose(context) == 1
        assert lose(context) == 0
    job = read_job(context, job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "worker_lost"
    assert "3 times" in job.error["message"]
    assert statuses(context, job_id) == ["queued", "validating"] * 3 + ["failed"]


def test_an_attempt_that_got_further_does_not_count(context: Context) -> None:
    """A checkpoint after another epoch is progress; the same epochs once more are none."""
    job_id = add_job(context)
    epochs_of_attempts = [([1, 2], 0), ([3], 0), ([], 1), ([1, 2, 3], 2), ([4], 2), ([], 3)]
    for epochs, counted in epochs_of_attempts:
        lease = claim(context, job_id)
        lease.start_running({})
        for epoch in epochs:
            lease.report([("metrics", {"epoch": epoch})], progress=None, warnings=[])
        assert lose(context) == 1
        assert read_job(context, job_id).attempt == counted
    assert read_job(context, job_id).status == "failed"


def test_steps_may_be_repeated_when_their_answer_was_lost(context: Context) -> None:
    job_id = add_job(context)
    lease, model = claim(context, job_id), make_model(job_id)
    for _ in range(2):
        lease.start_running({"images": 2})
    for _ in range(2):
        lease.succeed(model, config={}, metrics={}, audit_key="audits/a.json")
    assert statuses(context, job_id) == ["queued", "validating", "running", "succeeded"]
    with context.database.read() as session:
        assert len(session.scalars(select(Model)).all()) == 1


def test_a_lost_job_that_was_being_cancelled_is_cancelled(context: Context) -> None:
    job_id = bring_to(context, Status.CANCELLING)
    assert lose(context) == 1
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
    assert lease.stop_request().release is False
    with context.database.write() as session:
        workers.report(session, "worker", pool="default", stopping=False)
    assert lease.stop_request().release is False
    with context.database.write() as session:
        workers.report(session, "worker", pool="default", stopping=True)
    assert lease.stop_request().release is True


def test_a_worker_is_alive_while_it_reports(context: Context) -> None:
    def alive() -> bool:
        with context.database.read() as session:
            return workers.alive(session, context.settings) == {"default": 1}

    assert not alive()
    with context.database.write() as session:
        workers.report(session, "w1", pool="default", stopping=False)
    assert alive()
    with context.database.write() as session:
        workers.report(session, "w1", pool="default", stopping=True)
    assert not alive()
    with context.database.write() as session:
        workers.report(session, "w2", pool="default", stopping=False)
        old = datetime.now(UTC) - timedelta(seconds=context.settings.lease_seconds + 1)
        session.execute(update(Worker).where(Worker.id == "w2").values(seen_at=old))
    assert not alive()
    with context.database.write() as session:
        workers.leave(session, "w1")
        workers.leave(session, "w2")
    with context.database.read() as session:
        assert session.scalars(select(Worker)).all() == []
