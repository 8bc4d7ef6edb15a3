"""Two worker hosts, one of which dies in the middle of a job."""

from __future__ import annotations

from dspt_client.schemas.status import Status

from benchmarks.scale.cluster import Cluster
from benchmarks.scale.proof import faults, statuses_of
from tests.services import wait_until


def test_the_jobs_of_a_dead_host_are_done_by_another(hosts: Cluster) -> None:
    hosts.start(workers=2)
    jobs = hosts.post(3, epochs=8)
    wait_until(lambda: hosts.count(jobs[:1], "running"), 120, "the job to run")
    dead = hosts.worker_of(jobs[0])
    dead.kill()
    hosts.wait(jobs)
    assert not faults(hosts, jobs)
    assert statuses_of(hosts, jobs[0]).count(Status.QUEUED) > 1
    assert hosts.worker_of(jobs[0]) is not dead
    dead.start()
    hosts.wait_ready()
