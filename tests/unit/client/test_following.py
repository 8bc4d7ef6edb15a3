"""Following a job: over broken connections, up to its end, or as long as one wants to."""

from __future__ import annotations

import itertools

import httpx
import pytest
from dspt_client import JobCancelled, JobFailed, Unreachable, WaitTimeout

from tests.unit.client.server import JOB_ID, Json, client_of, event, job, problem, stream

DONE = httpx.Response(200, json=job("succeeded", model_id="mdl_1"))
RUNNING = httpx.Response(200, json=job())
END = event(9, "status", status="succeeded")


def test_a_broken_stream_goes_on_behind_the_last_event_seen(pauses: list[float]) -> None:
    client, script = client_of(
        RUNNING,
        stream(event(1), event(2), broken=httpx.ReadError),
        httpx.ConnectError("it is being started again"),
        problem(503, "too_many_listeners"),
        stream(event(2), event(3, "status", status="succeeded")),
        DONE,
    )
    events = client.jobs.get(JOB_ID).events()
    assert [found.id for found in events] == [1, 2, 3]
    seen = [request.headers.get("Last-Event-ID") for request in script.requests]
    assert seen == [None, None, "2", "2", "2", None]
    assert len(pauses) == 3


def test_a_stream_that_ends_with_its_server_is_opened_again() -> None:
    client, _ = client_of(RUNNING, stream(event(1)), RUNNING, stream(END), DONE)
    assert [found.id for found in client.jobs.get(JOB_ID).events()] == [1, 9]


def test_a_job_that_ended_while_nothing_was_read_is_followed_to_its_last_event() -> None:
    client, _ = client_of(RUNNING, stream(event(1)), DONE, stream(event(2), END), DONE)
    assert [found.id for found in client.jobs.get(JOB_ID).events()] == [1, 2, 9]


def test_events_of_kinds_unknown_here_are_passed_over() -> None:
    client, _ = client_of(RUNNING, stream(event(1, "confetti"), event(2), END), DONE)
    assert [found.id for found in client.jobs.get(JOB_ID).events()] == [2, 9]


def test_a_service_that_stays_away_is_given_up(pauses: list[float]) -> None:
    client, _ = client_of(RUNNING, *[httpx.ConnectError] * 11)
    with pytest.raises(Unreachable):
        client.jobs.get(JOB_ID).wait()
    assert 30 < sum(pauses) < 60


def test_who_leaves_early_closes_the_stream() -> None:
    answer = stream(event(1), event(2))
    client, _ = client_of(RUNNING, answer)
    events = client.jobs.get(JOB_ID).events()
    assert next(events).id == 1
    events.close()  # type: ignore[attr-defined]
    assert answer.is_closed


def test_waiting_ends_with_the_job() -> None:
    client, script = client_of(RUNNING, stream(END), DONE, DONE)
    found = client.jobs.get(JOB_ID)
    found.wait(progress=True)
    assert (found.status, found.model_id) == ("succeeded", "mdl_1")
    found.wait()  # nothing to wait for, nothing to ask
    assert len(script.requests) == 4


def test_a_job_that_failed_tells_why_by_file() -> None:
    problems = [
        {"where": "cat/1.png", "code": "unreadable", "message": "cannot be read"},
        {"where": "", "code": "one_class", "message": "there is one class only"},
    ]
    error = {"code": "invalid_dataset", "message": "it cannot be used", "problems": problems}
    client, _ = client_of(httpx.Response(200, json=job("failed", error=error)))
    with pytest.raises(JobFailed) as caught:
        client.jobs.get(JOB_ID).wait()
    assert caught.value.code == "invalid_dataset"
    assert [found.where for found in caught.value.problems] == ["cat/1.png", ""]
    assert str(caught.value).splitlines()[1:] == [
        "  cat/1.png: cannot be read",
        "  photos.zip: there is one class only",
    ]
    for where, message in (("", "one class only"), ("cat", "cat: one class only")):
        only = {"where": where, "code": "one_class", "message": "one class only"}
        error = {"code": "one_class", "message": message, "problems": [only]}
        client, _ = client_of(httpx.Response(200, json=job("failed", error=error)))
        with pytest.raises(JobFailed, match=rf"failed: {message}$"):  # not twice
            client.jobs.get(JOB_ID).wait()
    client, _ = client_of(httpx.Response(200, json=job("cancelled")))
    with pytest.raises(JobCancelled, match="was cancelled"):
        client.jobs.get(JOB_ID).wait()


def test_waiting_ends_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0.0, 0.5)
    monkeypatch.setattr("dspt_client._job.time.monotonic", lambda: next(clock))
    silent = [stream(event(n), broken=httpx.ReadTimeout) for n in range(1, 9)]
    client, script = client_of(RUNNING, *silent[:3], RUNNING)
    with pytest.raises(WaitTimeout, match="still running after 8 s") as caught:
        client.jobs.get(JOB_ID).wait(timeout=8)
    assert isinstance(caught.value, TimeoutError)
    patience = [r.extensions["timeout"]["read"] for r in script.requests[1:-1]]
    assert patience == sorted(patience, reverse=True)
    assert max(patience) <= 5


def test_a_bar_on_a_terminal_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("COLUMNS", "120")
    far = {"stage": "zero_shot", "epoch": 3, "epochs": 9, "fraction": 0.4, "eta_seconds": 5.2}
    steps = event(1, "warning", message="[b]few photos[/b]"), event(2, **far)
    client, _ = client_of(RUNNING, stream(*steps), DONE, stream(), DONE, DONE)
    client.jobs.get(JOB_ID).wait(progress=True)
    said = capsys.readouterr()
    assert said.out == ""
    for text in ("warning: [b]few photos[/b]", "zero-shot, epoch 3 of 9", "40%", "about 5 s left"):
        assert text in said.err


def test_where_there_is_no_terminal_nothing_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    client, _ = client_of(RUNNING, stream(event(1, stage="tuning"), END), DONE, DONE)
    client.jobs.get(JOB_ID).wait(progress=True)
    assert capsys.readouterr() == ("", "")


def test_the_end_of_a_short_batch_is_seen_soon_and_a_long_one_is_seldom_asked_for(
    pauses: list[float],
) -> None:
    running = [httpx.Response(200, json=batch("running", done=done)) for done in range(7)]
    client, _ = client_of(*running, httpx.Response(200, json=batch("succeeded", done=7)))
    seen: list[tuple[str, int, int]] = []
    found = client.batches.wait("batch_1", on_progress=lambda *each: seen.append(each))
    assert found.status == "succeeded"
    assert seen == [("classifying", done, 7) for done in range(8)]
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_waiting_for_a_batch_ends_after_the_timeout() -> None:
    client, script = client_of(*[httpx.Response(200, json=batch("running"))] * 2)
    assert client.batches.wait("batch_1", timeout=-1).status == "running"
    assert len(script.requests) == 1


def batch(status: str, done: int = 0) -> Json:
    nothing = ("started_at", "finished_at", "alias", "dataset_id", "reject_below", "error")
    return dict.fromkeys(nothing) | {
        "id": "batch_1",
        "name": "photos",
        "status": status,
        "created_at": "2026-01-02T03:04:05Z",
        "model": "mdl_1",
        "filename": "photos.zip",
        "top_k": 1,
        "images": 7,
        "done": done,
        "unreadable": 0,
        "links": {},
    }
