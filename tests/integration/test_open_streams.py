"""A stream of events lasts for hours; it must not keep what other requests need for that time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.kit.context import Context, ContextDep, ReadSession
from tests.integration.conftest import zip_of
from tests.integration.jobs import problem
from tests.services import clean_environment, free_port, wait_until

#: More than there are threads that serve requests.
LISTENERS = 50


def test_a_streaming_answer_holds_no_connection(context: Context) -> None:
    app = FastAPI()
    app.state.context = context

    @app.get("/stream")
    def stream(context: ContextDep, session: ReadSession) -> StreamingResponse:
        session.execute(text("SELECT 1"))

        def held() -> Iterator[str]:
            yield context.database.engine.pool.status()

        return StreamingResponse(held())

    with TestClient(app) as client:
        said = client.get("/stream").text
    assert "Current Checked out connections: 0" in said or "NullPool" in said, said


def test_many_listeners_leave_room_for_requests_and_go_when_the_api_stops(tmp_path: Path) -> None:
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
            assert client.get(job["links"]["self"]).json()["status"] == "queued"

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


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False
