"""A stream of events lasts for hours; it must not keep what other requests need for that time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.integration.conftest import zip_of
from tests.integration.jobs import problem
from tests.services import clean_environment, free_port, wait_until

#: More than there are threads that serve requests.
LISTENERS = 50


def test_many_listeners_and_requests_at_once_and_a_stop(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    environment = clean_environment(
        DSPT_DATA_DIR=str(tmp_path / "data"), DSPT_MAX_LISTENERS=str(LISTENERS), OMP_NUM_THREADS="1"
    )
    command = [sys.executable, "-m", "app.cli", "api", "--port", str(port)]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, env=environment, stdout=output, stderr=output) as api,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", limits=httpx.Limits()) as client,
        ExitStack() as streams,
    ):
        try:
            wait_until(lambda: _answers(client), 60, "the API")
            zip_file = zip_of({"cat/1.png": b"not looked at"})
            job = client.post("/jobs", files={"dataset": ("a.zip", zip_file)}).json()

            def listen() -> httpx.Response:
                headers = {"Accept": "text/event-stream"}
                stream = client.stream("GET", job["links"]["events"], headers=headers)
                return streams.enter_context(stream)

            opened = [listen() for _ in range(LISTENERS)]
            assert {stream.status_code for stream in opened} == {200}
            answers = asyncio.run(_many_at_once(f"{client.base_url}{job['links']['self']}"))
            assert set(answers) == {200}

            refused = listen()
            refused.read()
            assert "DSPT_MAX_LISTENERS" in problem(refused, 503, "too_many_listeners")["detail"]
            assert int(refused.headers["Retry-After"]) > 0
            opened.pop().close()  # who leaves makes room
            wait_until(lambda: listen().status_code == 200, 10, "a place")
        finally:
            api.terminate()
            # Less than the API itself would allow for requests that do not end.
            api.wait(4)
    assert '"level": "error"' not in log.read_text(), log.read_text()


async def _many_at_once(url: str) -> list[int]:
    """Statuses of more requests at once than there are threads and database connections."""
    async with httpx.AsyncClient(timeout=20, limits=httpx.Limits()) as client:
        answers = await asyncio.gather(*(client.get(url) for _ in range(150)))
    return [answer.status_code for answer in answers]


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False
