"""API processes behind a balancer without sessions: any of them may die at any time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from dspt_client import Client

from benchmarks.scale.cluster import KEY, Cluster
from benchmarks.scale.proof import faults
from tests.acceptance.photos import photo
from tests.services import wait_until

pytestmark = pytest.mark.slow


def test_events_go_on_when_the_process_that_sends_them_dies(hosts: Cluster) -> None:
    hosts.start(apis=2, workers=1)
    (job_id,) = hosts.post(1, epochs=40)
    seen: list[int] = []

    def follow() -> None:
        with Client(hosts.url, KEY) as client:
            for event in client.jobs.get(job_id).events():
                seen.append(event.id)

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow)
        for api in hosts.apis:  # one of them sends
            more = len(seen) + 5
            wait_until(lambda n=more: len(seen) > n, 120, "events")
            api.kill()
            api.start()
            hosts.wait_ready()
        following.result(300)
    assert seen == list(range(1, hosts.rows([job_id])[job_id].event_seq + 1))
    assert not faults(hosts, [job_id])


def test_killed_replicas_lose_and_double_no_request(hosts: Cluster) -> None:
    hosts.start(apis=2, workers=2)
    hosts.post(1, epochs=1)  # the data set
    done, jobs, asked = threading.Event(), list[str](), 0

    def ask() -> None:
        nonlocal asked
        with Client(hosts.url, KEY, retries=8) as client:
            while not done.is_set():
                (job_id,) = hosts.post(1, epochs=1, client=client)
                jobs.append(job_id)
                for _ in range(10):
                    client.jobs.get(job_id)
                    asked += 1
                    time.sleep(0.05)  # the pace of a caller

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(ask) for _ in range(4)]
        try:
            for api in [*hosts.apis, *hosts.apis]:
                reached = asked + 40
                wait_until(lambda r=reached: asked > r or done.is_set(), 120, "requests")
                api.kill()
                reached = asked + 40
                wait_until(lambda r=reached: asked > r, 120, "requests at the other one")
                api.start()
                hosts.wait_ready()
        finally:
            done.set()
        for caller in callers:
            caller.result(120)  # no call failed
    hosts.wait(list(hosts.posted), 600)
    assert not faults(hosts, jobs)


def test_everything_is_restarted_under_load(hosts: Cluster) -> None:
    hosts.start(apis=2, workers=3)
    (first,) = hosts.post(1, epochs=1)
    hosts.wait([first])
    model, done, predicted = hosts.rows([first])[first], threading.Event(), 0
    job = hosts.client.jobs.get(model.id)
    assert job.model_id is not None
    model_id, jobs = job.model_id, list[str]()

    def predict() -> None:
        nonlocal predicted
        with Client(hosts.url, KEY, retries=8) as client:
            while not done.is_set():
                client.predict(model_id, [photo("apple", 1)])
                predicted += 1

    def submit() -> None:
        with Client(hosts.url, KEY, retries=8) as client:
            while not done.is_set():
                jobs.extend(hosts.post(1, epochs=4, client=client))
                wait_until(
                    lambda: hosts.count(jobs, "queued") < 6 or done.is_set(), 300, "a short queue"
                )

    with ThreadPoolExecutor(2) as pool:
        callers = [pool.submit(predict), pool.submit(submit)]
        try:
            for part in [*hosts.apis, *hosts.workers]:
                reached = predicted + 5
                wait_until(lambda r=reached: predicted > r, 180, "predictions")
                part.stop()
                part.start()
                hosts.wait_ready()
        finally:
            done.set()
        for caller in callers:
            caller.result(300)
    hosts.wait(jobs, 600)
    assert not faults(hosts, jobs)
    attempts = [row.attempt for row in hosts.rows(jobs).values()]
    assert set(attempts) == {1}, attempts  # workers returned their jobs


def test_replicas_limit_requests_together(hosts: Cluster) -> None:
    hosts.start(apis=3, workers=1)
    limit = 300
    hosts.restart_apis(DSPT_REQUESTS_PER_MINUTE=str(limit))
    try:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=hosts.url, headers=headers) as http:
            http.get("/jobs", params={"limit": 1})
            time.sleep(60 - time.time() % 60)  # a window is a minute of the clock
            minute, answers = time.time() // 60, list[int]()
            while len(answers) < 1.5 * limit and time.time() // 60 == minute:
                # A new connection each time, so that the balancer spreads them.
                answer = http.get("/jobs", params={"limit": 1}, headers={"Connection": "close"})
                answers.append(answer.status_code)
        if len(answers) < 1.5 * limit:
            pytest.skip(f"this machine is too busy: {len(answers)} requests in a minute")
        assert set(answers) == {200, 429}
        assert answers.count(200) == pytest.approx(limit, rel=0.05)
    finally:
        hosts.restart_apis(DSPT_REQUESTS_PER_MINUTE="")
