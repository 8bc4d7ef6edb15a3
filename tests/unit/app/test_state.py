"""The table of steps."""

from dspt_client.schemas.status import TERMINAL, Status

from app.tables.job_state import LEASED, STEPS, sources


def test_every_state_is_in_the_table() -> None:
    assert set(STEPS) == set(Status)


def test_an_ended_job_can_only_be_retried() -> None:
    assert STEPS[Status.SUCCEEDED] == frozenset()
    assert STEPS[Status.FAILED] == STEPS[Status.CANCELLED] == {Status.QUEUED}


def test_every_state_leads_to_an_end_and_is_reached_from_the_start() -> None:
    reached = {Status.QUEUED}
    while True:
        further = reached.union(*(STEPS[status] for status in reached))
        if further == reached:
            break
        reached = further
    assert reached == set(Status)
    ends = set(TERMINAL)
    while True:
        further = ends | {status for status in Status if STEPS[status] & ends}
        if further == ends:
            break
        ends = further
    assert ends == set(Status)


def test_sources_are_the_steps_read_backwards() -> None:
    assert sources(Status.QUEUED) == set(Status) - {
        Status.QUEUED,
        Status.CANCELLING,
        Status.SUCCEEDED,
    }
    assert sources(Status.SUCCEEDED) == {Status.RUNNING}
    assert sources(Status.CANCELLED) == {Status.QUEUED, Status.CANCELLING}
    assert sources(Status.FAILED) == {Status.VALIDATING, Status.RUNNING}


def test_jobs_are_leased_between_queue_and_end() -> None:
    assert set(Status) - TERMINAL - {Status.QUEUED} == LEASED
