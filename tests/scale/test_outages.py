"""Redis, PostgreSQL or the bucket is away: jobs wait, and all of them succeed."""

from __future__ import annotations

import signal
import time

import httpx
import pytest

from benchmarks.scale.cluster import KEY, Cluster
from benchmarks.scale.proof import faults
from tests.services import wait_until

pytestmark = pytest.mark.slow

AWAY_SECONDS = 60.0


def test_the_bucket_is_away(hosts: Cluster) -> None:
    hosts.start(apis=2, workers=2)
    (first,) = hosts.post(1, epochs=1)
    hosts.wait([first])
    model = hosts.client.jobs.get(first).model_id
    jobs = hosts.post(8, epochs=8)
    wait_until(lambda: hosts.count(jobs, "running"), 120, "a job to run")
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=hosts.url, headers=headers, timeout=30) as http:
        hosts.storage.freeze()
        try:
            end = time.monotonic() + AWAY_SECONDS
            answer = http.get(f"/models/{model}/artifact")
            assert answer.status_code == 503, answer.text
            print(f"the bucket is silent: 503 after {answer.elapsed.total_seconds():.1f} s")  # noqa: T201
            assert int(answer.headers["Retry-After"]) > 0
            for path in ("/health/live", "/health/ready", f"/jobs/{jobs[0]}"):
                assert http.get(path).status_code == 200, path
            time.sleep(max(0.0, end - time.monotonic()))
        finally:
            hosts.storage.thaw()
        hosts.wait(jobs, 600)
        assert http.get(f"/models/{model}/artifact").status_code == 200
    assert not faults(hosts, jobs)
    assert {row.attempt for row in hosts.rows(jobs).values()} == {1}


def test_redis_is_away_and_comes_back_empty(hosts: Cluster) -> None:
    hosts.start(apis=2, workers=2)
    jobs = hosts.post(8, epochs=4)
    redis = hosts.servers.redis
    wait_until(lambda: hosts.count(jobs, "running"), 120, "a job to run")
    redis.stop(signal.SIGKILL)  # its data are in memory only
    end = time.monotonic() + AWAY_SECONDS
    try:
        jobs += hosts.post(4, epochs=4)  # jobs are accepted without it
        time.sleep(max(0.0, end - time.monotonic()))
        left = hosts.count(jobs, "queued")
    finally:
        redis.start()
    assert left
    back = time.monotonic()
    wait_until(lambda: hosts.count(jobs, "queued") < left, 60, "a queued job to start")
    print(f"Redis came back empty: a job started after {time.monotonic() - back:.1f} s")  # noqa: T201
    hosts.wait(jobs, 600)
    assert not faults(hosts, jobs)


def test_postgres_is_restarted(hosts: Cluster) -> None:
    hosts.start(apis=2, workers=2)
    jobs = hosts.post(8, epochs=8)
    database = hosts.servers.database
    assert database is not None
    wait_until(lambda: hosts.count(jobs, "running"), 120, "a job to run")
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=hosts.url, headers=headers, timeout=30) as http:
        database.stop()
        try:
            assert http.get(f"/jobs/{jobs[0]}").status_code == 503
            assert http.get("/health/live").status_code == 200
            time.sleep(5)  # of a restart
        finally:
            database.start()
        back = time.monotonic()
        wait_until(lambda: http.get(f"/jobs/{jobs[0]}").is_success, 60, "an answer", pause=0.1)
        seconds = time.monotonic() - back
        print(f"PostgreSQL came back: an answer after {seconds:.1f} s")  # noqa: T201
    hosts.wait(jobs, 600)
    assert not faults(hosts, jobs)


def test_the_bucket_is_asked_seldom(hosts: Cluster) -> None:
    hosts.start(apis=2, workers=2)
    hosts.wait(hosts.post(4, epochs=1))
    before = hosts.bucket.requests()
    time.sleep(60)
    idle = hosts.bucket.requests() - before
    before = hosts.bucket.requests()
    hosts.wait(hosts.post(1, epochs=1))
    job = hosts.bucket.requests() - before
    print(f"{idle} requests in an idle minute of 2 API processes, {job} for a job")  # noqa: T201
    assert idle <= 2 * 2
    assert job <= 20
