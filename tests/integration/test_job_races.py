"""Two requests about one thing at the same moment, on each database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from app.kit.context import Context
from tests.integration.job_calls import ZIPS, JobCalls, submit
from tests.integration.job_model import DONE, REFUSED
from tests.integration.jobs import files_in

#: One meeting of two may pass by chance; with this many a fault has shown each time.
MEETINGS = 12


def new_job(context: Context) -> JobCalls:
    how, job_id = submit(context, ZIPS[0], None)
    assert how == DONE
    return JobCalls(context, job_id)


def at_once(*steps: tuple[JobCalls, str, tuple[int, ...]]) -> tuple[str, ...]:
    """Take these steps from as many threads; returns how each went."""
    start = Barrier(len(steps))

    def run(step: tuple[JobCalls, str, tuple[int, ...]]) -> str:
        job, name, arguments = step
        start.wait()
        how: str = getattr(job, name)(*arguments)
        return how

    with ThreadPoolExecutor(len(steps)) as threads:
        return tuple(threads.map(run, steps))


def test_the_last_two_jobs_on_a_data_set_are_deleted(context: Context) -> None:
    for _ in range(MEETINGS):
        jobs = [new_job(context) for _ in range(2)]
        for job in jobs:
            job.cancel()
        assert at_once(*((job, "delete", ()) for job in jobs)) == (DONE, DONE)
        assert files_in(context) == set()


def test_a_job_is_deleted_and_tried_again(context: Context) -> None:
    for _ in range(MEETINGS):
        job = new_job(context)
        job.cancel()
        outcome = at_once((job, "delete", ()), (job, "retry", ()))
        assert outcome in ((DONE, "job_not_found"), ("job_not_finished", DONE))
        assert len(files_in(context)) == (outcome[1] == DONE)
        if outcome[1] == DONE:
            assert (job.cancel(), job.delete()) == (DONE, DONE)


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        # Given back first, it is cancelled while queued.
        ("release", ((DONE, DONE), (DONE, REFUSED))),
        ("succeed", (("job_finished", DONE), (DONE, REFUSED))),
        ("fail", (("job_finished", DONE), (DONE, REFUSED))),
    ],
)
def test_a_job_is_cancelled_while_its_worker_ends_it(
    context: Context, name: str, outcomes: tuple[tuple[str, str], ...]
) -> None:
    for _ in range(MEETINGS):
        job = new_job(context)
        job.claim()
        job.start(0)
        assert at_once((job, "cancel", ()), (job, name, (0,))) in outcomes
