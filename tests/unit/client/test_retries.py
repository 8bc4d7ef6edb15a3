"""Requests are sent again where that is safe and may help, after growing pauses."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
from dspt_client import (
    BadRequest,
    ClientError,
    Conflict,
    NotFound,
    ServerError,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)

from tests.unit.client.server import JOB_ID, client_of, job, problem


@pytest.mark.parametrize(
    "first",
    [httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError]
    + [problem(status, "busy") for status in (429, 502, 503, 504)],
    ids=str,
)
def test_a_look_is_repeated(first: httpx.Response, pauses: list[float]) -> None:
    client, script = client_of(first, httpx.Response(200, json=job()))
    assert client.jobs.get(JOB_ID).id == JOB_ID
    assert len(script.requests) == 2
    assert 0.25 <= pauses[0] <= 0.5


def test_pauses_grow_and_then_it_gives_up(pauses: list[float]) -> None:
    client, _ = client_of(*[httpx.ConnectError] * 5)
    with pytest.raises(Unreachable, match="http://there cannot be reached: connection refused"):
        client.jobs.get(JOB_ID)
    assert len(pauses) == 4
    assert all(
        longest / 2 <= p <= longest for p, longest in zip(pauses, (0.5, 1, 2, 4), strict=True)
    )


def test_the_service_says_how_long_to_wait(
    pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    client, _ = client_of(
        problem(429, "rate_limited", **{"Retry-After": "7"}),
        problem(503, "too_many", **{"Retry-After": date}),
        problem(503, "too_many", **{"Retry-After": "soon"}),
        httpx.Response(200, json=job()),
    )
    client.jobs.get(JOB_ID)
    assert pauses[0] == 7
    assert pauses[1] == pytest.approx(30, abs=2)
    assert pauses[2] <= 2
    # Long waits are told, with their reason; a program without logging has them on standard error.
    told, also = caplog.messages
    assert told == "why rate_limited (429 rate_limited) Trying again in 7 s."
    assert also.startswith("why too_many (503 too_many) Trying again in ")
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_a_wait_that_is_too_long_is_told_instead(pauses: list[float]) -> None:
    client, _ = client_of(problem(429, "too_many_jobs", **{"Retry-After": "600"}))
    with pytest.raises(TooManyRequests, match="why too_many_jobs"):
        client.jobs.get(JOB_ID)
    assert pauses == []


@pytest.mark.parametrize("step", ["cancel", "retry"])
@pytest.mark.parametrize("answer", [httpx.ReadError, problem(503, "busy")], ids=str)
def test_what_is_not_safe_is_sent_once(step: str, answer: httpx.Response) -> None:
    client, script = client_of(answer)
    with pytest.raises((Unreachable, ServerError)):
        getattr(client.jobs, step)(JOB_ID)
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (problem(400, "x"), BadRequest),
        (problem(404, "x"), NotFound),
        (problem(409, "x"), Conflict),
        (problem(500, "x"), ServerError),
        (httpx.ReadTimeout("slow"), Unreachable),
    ],
    ids=str,
)
def test_what_would_not_help_is_not_tried(
    answer: httpx.Response, error: type[ClientError], pauses: list[float]
) -> None:
    client, _ = client_of(answer)
    with pytest.raises(error):
        client.jobs.get(JOB_ID)
    assert pauses == []


@pytest.fixture
def zip_file(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in ("cat/1.png", "dog/1.png"):
            archive.writestr(name, b"photos")
    return tmp_path / "photos.zip"


def test_an_upload_that_is_tried_again_is_the_same_one(zip_file: Path) -> None:
    client, script = client_of(
        httpx.Response(204),  # the settings
        httpx.ReadError,
        problem(422, "missing"),  # it was not for being refused that it broke
        problem(503, "busy"),
        httpx.Response(202, json=job("queued")),
    )
    assert client.jobs.create(zip_file, config={"epochs": 2}).status == "queued"
    assert script.requests.pop(0).url.path == "/jobs/check"
    asked_why = script.requests.pop(1)
    assert (asked_why.content, asked_why.headers.get("Idempotency-Key")) == (b"", None)
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 1
    assert all(b"photos" in request.content for request in script.requests)
    assert len({len(request.content) for request in script.requests}) == 1

    client, other = client_of(httpx.Response(202, json=job("queued")))
    client.jobs.create(zip_file)
    assert other.requests[0].headers["Idempotency-Key"] != script.requests[0].headers.get(
        "Idempotency-Key"
    )


@pytest.mark.parametrize("error", [httpx.WriteError, httpx.ReadError])
def test_an_upload_cut_off_by_a_refusal_is_told_as_that(
    error: type[httpx.RequestError], zip_file: Path, pauses: list[float]
) -> None:
    client, _ = client_of(error, problem(401, "key_missing"))
    with pytest.raises(Unauthorized):
        client.jobs.create(zip_file)
    assert pauses == []
    client, _ = client_of(error, httpx.ConnectError)
    with pytest.raises(Unreachable):
        client.models.upload(zip_file)


def test_something_deleted_by_a_try_whose_answer_was_lost_is_deleted() -> None:
    client, _ = client_of(httpx.ReadError, problem(404, "job_not_found"))
    client.jobs.delete(JOB_ID)
    client, _ = client_of(problem(404, "job_not_found"))
    with pytest.raises(NotFound):
        client.jobs.delete(JOB_ID)
