"""API processes behind a balancer without sessions: any of them may die."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from dspt_client import Client

from benchmarks.scale.cluster import KEY, Cluster
from benchmarks.scale.proof import faults
from tests.services import wait_until

pytestmark = [pytest.mark.scale_only, pytest.mark.slow]


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
