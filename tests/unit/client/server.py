"""A scripted server for the client's own logic, and what it answers with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from dspt_client import Client

Json = dict[str, Any]
JOB_ID = "job_" + "0" * 26


def job(status: str = "running", **changes: Any) -> Json:
    """A job as the first version of the service showed it, without anything that has a default."""
    return {
        "id": JOB_ID,
        "name": "photos",
        "status": status,
        "created_at": "2026-01-02T03:04:05Z",
        "started_at": None,
        "finished_at": None,
        "attempt": 1,
        "error": None,
        "progress": {"stage": "tuning"},
        "dataset": {"id": "ds_" + "0" * 26, "sha256": "0" * 64, "filename": "photos.zip"},
        "config": {},
        "class_names": None,
        "metrics": None,
        "warnings": [],
        "model_id": None,
        "links": {},
    } | changes


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"status": status, "code": code, "detail": f"why {code}", "errors": []}
    return httpx.Response(status, json=body, headers=headers)


class Script(httpx.MockTransport):
    """Answers with the given steps, one a request; an exception is raised in place of an answer."""

    def __init__(self, *steps: httpx.Response | Exception | type[Exception]) -> None:
        super().__init__(self._answer)
        self._steps = iter(steps)
        self.requests: list[httpx.Request] = []

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        step = next(self._steps)
        if isinstance(step, httpx.Response):
            return step
        raise step("connection refused") if isinstance(step, type) else step


def client_of(*steps: httpx.Response | Exception | type[Exception]) -> tuple[Client, Script]:
    script = Script(*steps)
    return Client("http://there", transport=script), script


class Broken(httpx.SyncByteStream):
    """A body whose connection breaks after `text`, or is silent for longer than is waited."""

    def __init__(self, text: str, error: Callable[[str], Exception] = httpx.ReadError) -> None:
        self._text = text
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield self._text.encode()
        raise self._error("broken")


def stream(*events: Json, broken: Callable[[str], Exception] | None = None) -> httpx.Response:
    """Server-sent events, and then the end, or a broken connection."""
    text = ": ping\n\n" + "".join(
        f"id: {e['id']}\nevent: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events
    )
    if broken is None:
        return httpx.Response(200, text=text)
    return httpx.Response(200, stream=Broken(text, broken))


def event(number: int, kind: str = "progress", **data: Any) -> Json:
    return {"id": number, "type": kind, "created_at": "2026-01-02T03:04:05Z", "data": data}
