"""Worker hosts share the work evenly, and one that dies or is cut off loses and doubles none."""

from __future__ import annotations

import os
import random
import time
from datetime import UTC, datetime
from statistics import median

import pytest
from dspt_client import Client
from dspt_client.schemas.status import Status
from sqlalchemy import text

from app.access import keys
from app.kit.http.rules import Scope
from benchmarks.scale.cluster import HEARTBEAT, Cluster, HostPart
from benchmarks.scale.proof import events_of, faults, jobs_per_second
from tests.services import uses_obstore, wait_until

pytestmark = pytest.mark.slow

KILLS = 20
FORKS = 50
CUT_SECONDS = 30.0


def test_more_hosts_do_more_jobs(hosts: Cluster) -> None:
    """64 jobs of six seconds of GPU time on 8 hosts, and as many for each on fewer hosts."""
    found = {number: jobs_per_second(hosts, number, epochs=12) for number in (1, 2, 4, 8)}
    speed_up = {number: rate / found[1] for number, rate in found.items()}
    about = f"speed-up {speed_up}, load average {os.getloadavg()[0]:.1f}"
    print(about)  # noqa: T201 - figures of `make test-scale -s`
    assert speed_up[2] >= 0.95 * 2, about
    assert speed_up[4] >= 0.95 * 4, about
    assert speed_up[8] >= 0.90 * 8, about


def test_killed_workers_lose_nothing(hosts: Cluster) -> None:
    hosts.start(workers=4)
    rng, killed = random.Random(1), list[tuple[str, datetime]]()
    jobs = hosts.post(40, epochs=6)
    while len(killed) < KILLS and hosts.count(jobs, "succeeded") < len(jobs):
        time.sleep(rng.uniform(0, 3))  # at any moment of a job
        running = [job for job, row in hosts.rows(jobs).items() if row.status == "running"]
        if running:
            job = rng.choice(sorted(running))
            worker = hosts.worker_of(job)
            worker.kill()
            killed.append((job, datetime.now(UTC)))
            worker.start()
    hosts.wait(jobs, 600)
    assert not faults(hosts, jobs)
    beats = [heartbeats_until_queued(hosts, job, since) for job, since in killed]
    late = [found for found in beats if found is not None]
    print(f"{len(killed)} kills, queued again after {sorted(late)} heartbeats")  # noqa: T201
    assert late
    assert median(late) <= 3, late
    hosts.wait_ready()


def test_a_worker_that_was_cut_off_changes_nothing_later(hosts: Cluster) -> None:
    hosts.start(workers=2)
    jobs = hosts.post(4, epochs=12)
    wait_until(lambda: hosts.count(jobs[:1], "running"), 120, "a job to run")
    cut = hosts.worker_of(jobs[0])
    cut.host.connect(up=False)
    try:
        end = time.monotonic() + CUT_SECONDS
        hosts.wait(jobs)
        assert hosts.worker_of(jobs[0]) is not cut
        before = {job: row.event_seq for job, row in hosts.rows(jobs).items()}
        time.sleep(max(0.0, end - time.monotonic()))
    finally:
        cut.host.connect(up=True)
    wait_until(lambda: noticed(cut, jobs[0]), 180, f"the lost lease\n{hosts.last_lines()}")
    hosts.wait_ready()
    assert not faults(hosts, jobs)
    assert {job: row.event_seq for job, row in hosts.rows(jobs).items()} == before
    again = hosts.post(4, epochs=2)  # it works on
    hosts.wait(again)
    assert not faults(hosts, again)


def noticed(worker: HostPart, job_id: str) -> bool:
    """Whether the worker logged that it lost the lease of the job."""
    lines = worker.log.read_text("utf-8", "replace").splitlines()
    return any('"lease lost"' in line and job_id in line for line in lines)


def test_a_worker_survives_fifty_forks(hosts: Cluster) -> None:
    """Each job in a process of its own, which opens the bucket anew."""
    hosts.start(workers=1)
    (worker,) = (part for part in hosts.workers if part.alive)
    worker.stop()
    worker.environment["DSPT_WORKER_JOBS_PER_PROCESS"] = "1"
    worker.start()
    hosts.wait_ready()
    pid, jobs = worker.process.pid, hosts.post(FORKS, epochs=1)
    processes = set[int]()

    def ended() -> bool:
        processes.update(worker.children())
        return hosts.count(jobs, "succeeded") == len(jobs)

    try:
        wait_until(ended, 600, f"the jobs\n{hosts.last_lines()}", pause=0.02)
        assert worker.process.pid == pid
        assert not uses_obstore(pid)
        assert len(processes) > FORKS / 2  # a busy machine does not look at all of them
        assert not faults(hosts, jobs)
    finally:
        worker.stop()
        del worker.environment["DSPT_WORKER_JOBS_PER_PROCESS"]
        worker.start()
        hosts.wait_ready()


def test_one_job_of_another_owner_need_not_wait_for_many(hosts: Cluster) -> None:
    hosts.start(workers=2)
    with hosts.context.database.write() as session:
        key = keys.create(session, "other", "other", Scope)[1]
    many = hosts.post(40, epochs=2)
    wait_until(lambda: hosts.count(many, "running"), 120, "a job to run")
    with Client(hosts.url, key) as other:
        (single,) = hosts.post(1, epochs=2, client=other)
    hosts.wait([single])
    row = hosts.rows([single])[single]
    assert row.started_at is not None
    ahead = [
        each.id
        for each in hosts.rows(many).values()
        if each.started_at is not None and row.created_at < each.started_at < row.started_at
    ]
    workers = sum(worker.alive for worker in hosts.workers)
    assert len(ahead) <= workers, f"{len(ahead)} jobs of the other owner were started before"
    hosts.wait(many, 600)
    assert not faults(hosts, [*many, single])


def test_connections_are_bounded(hosts: Cluster) -> None:
    """4 API processes and 8 workers need fewer connections than PostgreSQL has by default."""
    hosts.start(apis=4, workers=8)
    jobs, most = hosts.post(24, epochs=4), 0

    def ended() -> bool:
        nonlocal most
        for job in jobs[:4]:
            hosts.client.jobs.get(job)
        with hosts.context.database.read() as session:
            query = text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = :kind")
            most = max(most, session.scalar(query, {"kind": "client backend"}) or 0)
        return hosts.count(jobs, "succeeded") == len(jobs)

    wait_until(ended, 300, "the jobs", pause=0.05)
    print(f"at most {most} connections")  # noqa: T201
    assert most < 80


def heartbeats_until_queued(cluster: Cluster, job_id: str, since: datetime) -> float | None:
    """Return the heartbeats from `since` until the job was queued again; None if it was not."""
    for event in events_of(cluster, job_id):
        if event.created_at > since and event.data.get("status") == Status.QUEUED:
            return (event.created_at - since).total_seconds() / HEARTBEAT
    return None
