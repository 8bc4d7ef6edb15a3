"""A stream of events lasts for hours; it must not keep what other requests need for that time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.integration.conftest import zip_of
from tests.integration.jobs import problem
from tests.services import clean_environment, free_port, wait_until
from tests.warm import Warm

#: More than there are threads that serve requests.
LISTENERS = 50


@contextmanager
def running_api(warm_start: Warm, folder: Path, **settings: str) -> Iterator[httpx.Client]:
    """`dspt api` on SQLite; when it stops, it does so quickly and without an error in its log."""
    port, log = free_port(), folder / "log"
    environment = clean_environment(
        DSPT_DATA_DIR=str(folder / "data"), OMP_NUM_THREADS="1", **settings
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", limits=httpx.Limits()) as client:
        api = warm_start.dspt(["api", "--port", str(port)], environment, log)
        try:
            wait_until(lambda: _answers(client), 120, "the API")
            yield client
        finally:
            api.terminate()
            try:
                # Less than the API itself would allow for requests that do not end.
                api.wait(4)
            finally:
                api.kill()
    assert '"level": "error"' not in log.read_text(), log.read_text()


def post_job(client: httpx.Client) -> dict[str, Any]:
    zip_file = zip_of({"cat/1.png": b"not looked at"})
    job: dict[str, Any] = client.post("/jobs", files={"dataset": ("a.zip", zip_file)}).json()
    return job


async def many_at_once(url: str) -> list[httpx.Response]:
    """Answers to more requests at once than there are threads and database connections."""
    async with httpx.AsyncClient(timeout=20, limits=httpx.Limits()) as client:
        return await asyncio.gather(*(client.get(url) for _ in range(80)))


def test_many_listeners_and_requests_at_once_and_a_stop(warm_start: Warm, tmp_path: Path) -> None:
    with (
        ExitStack() as streams,  # they are open when the API stops
        running_api(warm_start, tmp_path, DSPT_MAX_LISTENERS=str(LISTENERS)) as client,
    ):
        job = post_job(client)

        def listen() -> httpx.Response:
            headers = {"Accept": "text/event-stream"}
            stream = client.stream("GET", job["links"]["events"], headers=headers)
            return streams.enter_context(stream)

        opened = [listen() for _ in range(LISTENERS)]
        assert {stream.status_code for stream in opened} == {200}
        answers = asyncio.run(many_at_once(f"{client.base_url}{job['links']['self']}"))
        assert {answer.status_code for answer in answers} == {200}

        refused = listen()
        refused.read()
        assert "DSPT_MAX_LISTENERS" in problem(refused, 503, "too_many_listeners")["detail"]
        assert int(refused.headers["Retry-After"]) > 0
        opened.pop().close()  # who leaves makes room
        wait_until(lambda: listen().status_code == 200, 120, "a place")


def test_more_requests_than_may_wait_are_refused_at_once(warm_start: Warm, tmp_path: Path) -> None:
    with running_api(warm_start, tmp_path, DSPT_MAX_WAITING_REQUESTS="5") as client:
        job = post_job(client)
        answers = asyncio.run(many_at_once(f"{client.base_url}{job['links']['self']}"))
        assert {answer.status_code for answer in answers} == {200, 503}
        for answer in answers:
            if answer.status_code == 503:
                assert "DSPT_MAX_WAITING_REQUESTS" in problem(answer, 503, "busy")["detail"]
                assert int(answer.headers["Retry-After"]) > 0
        assert client.get(job["links"]["self"]).status_code == 200


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False
