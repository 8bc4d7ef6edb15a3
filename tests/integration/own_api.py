"""The API on a port of its own, in this process: what happens behind it is the test's to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from app.kit.context import Context
from app.kit.http.stopping import Server
from app.kit.settings import Settings
from app.main import create_app
from tests.services import free_port, wait_until


@contextmanager
def running(settings: Settings, port: int | None = None) -> Iterator[tuple[str, Context]]:
    """Address and context of an API with these settings, on a thread of this process."""
    app, port = create_app(settings), port or free_port()
    config = uvicorn.Config(app, port=port, log_config=None)
    server = Server(config, app.state.stop, timeout=1)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, 120, "the API")
        yield f"http://127.0.0.1:{port}", app.state.context
    finally:
        server.should_exit = True
        thread.join(20)
