"""A stream of events lasts for hours; it must not keep a database connection for that time."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.kit.context import Context, ContextDep, ReadSession


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
