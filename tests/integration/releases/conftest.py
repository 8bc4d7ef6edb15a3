"""One API, and comparisons on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.kit.context import Context
from app.kit.settings import Settings
from dspt.backbones import load_backbone
from dspt.backbones.base import Backbone
from dspt.cli import terminal
from dspt.features.store import FeatureStore
from tests.integration.own_api import running
from tests.integration.releases.calls import Compared, compare_next


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Context]]:
    # Jobs here run without a worker, and must not be taken back.
    folder = tmp_path_factory.mktemp("releases")
    with running(Settings(data_dir=folder, heartbeat_seconds=1000)) as started:
        yield started


@pytest.fixture(scope="module")
def client(api: tuple[str, Context]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api[0], timeout=600) as opened:
        yield opened


@pytest.fixture
def shell(api: tuple[str, Context], monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands talk to this service."""
    monkeypatch.setenv("DSPT_URL", api[0])
    for console in (terminal.out, terminal.err):
        monkeypatch.setattr(console, "width", 200)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("builtin")


@pytest.fixture
def live(api: tuple[str, Context]) -> Context:
    return api[1]


@pytest.fixture
def compared(client: httpx.Client, live: Context) -> Compared:
    """Compare two models through the API itself, and check that a worker gives the same answer.

    `anew`: the worker encodes the images again.
    """

    def compare(a: str, b: str, *, anew: bool = False, **more: Any) -> Any:
        wanted = {"a": a, "b": b, **more}
        direct = client.post("/models/compare", json=wanted)
        if anew:
            FeatureStore(live.settings.feature_dir).expire(-1)
        made = client.post("/comparisons", json=wanted)
        if made.status_code != 202:
            assert (made.status_code, made.json()["code"]) == (
                direct.status_code,
                direct.json()["code"],
            )
            return direct
        assert compare_next(live)
        job = client.get(made.json()["links"]["self"]).json()
        if direct.status_code == 200:
            assert (job["status"], job["done"], job["error"]) == ("succeeded", job["images"], None)
            assert job["result"] == direct.json()
        else:
            assert job["status"] == "failed"
            assert job["error"]["code"] == direct.json()["code"]
        return direct

    return compare
