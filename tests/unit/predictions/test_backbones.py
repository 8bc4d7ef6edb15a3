"""Backbones come when they are asked for and go when there is no room."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.kit.http.errors import ServiceUnavailable
from app.predictions.backbones import Backbones
from app.predictions.inference import Inference
from app.predictions.settings import PredictionSettings
from app.predictions.tower import Tower
from dspt.backbones import Weights
from dspt.backbones.base import Backbone
from dspt.errors import BackboneMismatch, WeightsUnavailable
from tests.services import wait_until
from tests.unit.models import artifact_of, model_for

DIGEST = "ab" * 32  # of `tiny`

Load = Callable[[str], Backbone]
Open = Callable[..., Backbones]


@pytest.fixture
def loads(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names in the order in which they are loaded; every backbone is a tiny one."""
    found: list[str] = []

    def load(name: str, *, device: str) -> Backbone:
        found.append(name)
        if name == "nowhere":
            raise WeightsUnavailable("there is no network")
        precision: Any = "float16" if name == "half" else "float32"
        return replace(tiny, name=name, precision=precision)

    monkeypatch.setattr("dspt.backbones.load_backbone", load)
    monkeypatch.setattr("dspt.backbones.find_weights", Weights)
    return found


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    with ExitStack() as stack:

        def open_them(**settings: Any) -> Backbones:
            settings = {"engine": "torch", "device": "cpu", **settings}
            backbones = Backbones(PredictionSettings.model_validate(settings), tmp_path)
            stack.callback(backbones.close)
            return backbones

        yield open_them


def get(backbones: Backbones, *names: str) -> list[Tower]:
    async def ask() -> list[Tower]:
        return await asyncio.gather(*(backbones.tower(name, DIGEST) for name in names))

    return asyncio.run(ask())


def test_the_least_recently_used_goes_first(loads: list[str], opened: Open, tiny: Backbone) -> None:
    backbones = opened(backbone_bytes=2 * tiny.nbytes)
    for name in ("a", "b", "a", "c"):
        get(backbones, name)
    assert list(backbones.engines) == ["a", "c"]
    get(backbones, "a", "b")
    assert loads == ["a", "b", "c", "b"]


def test_reports_the_precision_that_each_serves_with(loads: list[str], opened: Open) -> None:
    backbones = opened()
    assert backbones.precisions == {}
    get(backbones, "whole", "half")
    assert backbones.precisions == {"half": "float16", "whole": "float32"}


def test_one_alone_stays_however_large(loads: list[str], opened: Open) -> None:
    backbones = opened(backbone_bytes=1)
    get(backbones, "a")
    get(backbones, "b")
    assert list(backbones.engines) == ["b"]


def test_those_who_ask_at_once_wait_for_one_load(
    loads: list[str], opened: Open, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def load(name: str, *, device: str) -> Backbone:
        loads.append(name)
        release.wait(60)
        return replace(tiny, name=name)

    monkeypatch.setattr("dspt.backbones.load_backbone", load)
    backbones = opened()

    async def ask() -> list[Tower]:
        asked = [asyncio.create_task(backbones.tower(name, DIGEST)) for name in ("a", "a", "b")]
        async with asyncio.timeout(60):
            while len(loads) < 2:
                await asyncio.sleep(0.01)
        release.set()
        return await asyncio.gather(*asked)

    one, other, third = asyncio.run(ask())
    assert one is other
    assert third is not one
    assert sorted(loads) == ["a", "b"]


def test_one_that_takes_long_holds_up_no_other(
    loads: list[str], opened: Open, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def load(name: str, *, device: str) -> Backbone:
        if name == "slow":
            release.wait(60)
        return tiny

    monkeypatch.setattr("dspt.backbones.load_backbone", load)
    backbones = opened()

    async def ask() -> bool:
        slow = asyncio.create_task(backbones.tower("slow", DIGEST))
        await backbones.tower("quick", DIGEST)
        waited = not slow.done()
        release.set()
        await slow
        return waited

    assert asyncio.run(ask())


def test_weights_that_are_not_to_be_had_are_looked_for_again_later(
    loads: list[str], opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbones = opened()
    for _ in range(2):
        with pytest.raises(WeightsUnavailable, match="no network"):
            get(backbones, "nowhere")
    assert loads == ["nowhere"]
    monkeypatch.setattr("app.predictions.backbones._RETRY_WEIGHTS_SECONDS", 0.0)
    backbones._unavailable.clear()
    for _ in range(2):
        with pytest.raises(WeightsUnavailable):
            get(backbones, "nowhere")
    assert loads == ["nowhere"] * 3


def test_those_that_are_named_are_loaded_at_start(loads: list[str], opened: Open) -> None:
    backbones = opened(warm_up="a, b")
    wait_until(lambda: not backbones.warm_up(), 120, "both")
    assert sorted(loads) == ["a", "b"]
    assert list(backbones.engines) == ["a", "b"]


def test_one_that_cannot_be_loaded_at_start_says_why(loads: list[str], opened: Open) -> None:
    backbones = opened(warm_up="nowhere,a")
    wait_until(lambda: "no network" in backbones.warm_up().get("nowhere", ""), 120, "the reason")
    wait_until(lambda: list(backbones.warm_up()) == ["nowhere"], 120, "the other one")


def test_other_weights_under_the_same_name_are_refused(
    loads: list[str], tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropped, and changed on the disk before it was loaded again."""
    settings = PredictionSettings(engine="torch", device="cpu", backbone_bytes=1)
    inference = Inference(settings, tmp_path)

    async def ask() -> None:
        model = artifact_of(model_for(tiny))
        served = await inference.prepare("model", lambda: model)
        await inference.backbones.tower("another", DIGEST)
        monkeypatch.setattr(
            "dspt.backbones.load_backbone", lambda *_, **__: replace(tiny, digest="f" * 64)
        )
        await inference.predict([served], [b""], 1)

    try:
        with pytest.raises(BackboneMismatch, match="have changed"):
            asyncio.run(ask())
    finally:
        inference.close()


def test_a_download_delays_no_request_for_long_and_no_other_backbone(
    loads: list[str], opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many silent downloads as there are threads that read, and a stop meanwhile."""
    release = threading.Event()

    class Far(Weights):
        def is_local(self) -> bool:
            return not self.name.startswith("far")

        def fetch(self) -> Path:
            release.wait(60)
            return Path()

    monkeypatch.setattr("dspt.backbones.find_weights", Far)
    monkeypatch.setattr("app.predictions.backbones._DOWNLOAD_PATIENCE_SECONDS", 0.2)
    backbones = opened()
    try:
        for name in ("far 1", "far 2", "far 3"):
            with pytest.raises(ServiceUnavailable, match="being downloaded") as caught:
                get(backbones, name)
            assert caught.value.headers == {"Retry-After": "10"}
        assert get(backbones, "near")[0].name == "near"
        backbones.close()
    finally:
        release.set()
