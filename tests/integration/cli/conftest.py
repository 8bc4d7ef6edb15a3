"""The real API that the commands talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.kit.context import Context
from app.kit.settings import Settings
from dspt.cli import terminal
from tests.integration.own_api import running


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Context]]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("cli"),
        event_poll_seconds=0.02,
        private_hosts=["127.0.0.1"],
    )
    with running(settings) as started:
        yield started


@pytest.fixture
def context(api: tuple[str, Context], monkeypatch: pytest.MonkeyPatch) -> Context:
    """Behind the service that the commands talk to."""
    monkeypatch.setenv("DSPT_URL", api[0])
    for console in (terminal.out, terminal.err):  # they look at COLUMNS when they are made
        monkeypatch.setattr(console, "width", 200)
    return api[1]
