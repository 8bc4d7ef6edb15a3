"""While torch answers, OpenVINO compiles the image tower; then it answers the same."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.predictions import torch_child
from app.predictions.inference import Inference
from app.predictions.settings import PredictionSettings
from dspt.backbones import compiled
from dspt.backbones.base import Backbone
from tests.photographs import jpegs
from tests.services import wait_until
from tests.unit.models import artifact_of, blend, model_for


@contextmanager
def inference(engine: str, tower_dir: Path) -> Iterator[Inference]:
    settings = PredictionSettings.model_validate({"engine": engine, "device": "cpu"})
    opened = Inference(settings, tower_dir)
    try:
        yield opened
    finally:
        opened.close()


class InThisProcess:
    """Does at once what `TorchChild` has another process do."""

    def __init__(self, _threads: int) -> None:
        pass

    def call(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return work(*arguments)

    def rest(self) -> None:
        pass

    def close(self) -> None:
        pass


def answers(inference: Inference, backbone: Backbone) -> list[list[tuple[str, float]]]:
    """By a prompt, whose class embeddings need the text tower, and by an ensemble."""
    prompt = model_for(backbone)
    ensemble = dataclasses.replace(prompt, blend=blend())
    images = jpegs(4)

    async def ask() -> list[list[tuple[str, float]]]:
        served = [
            await inference.prepare(key, partial(artifact_of, model))
            for key, model in (("prompt", prompt), ("ensemble", ensemble))
        ]
        found = await inference.predict(served, images, 3)
        return [scores for image in found for scores in image]

    return asyncio.run(ask())


def test_openvino_takes_over_and_answers_the_same(
    builtin: Backbone, converted_towers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([False])
    monkeypatch.setattr(compiled, "is_converted", lambda *_: next(found, True))
    with inference("auto", converted_towers) as opened:
        before = answers(opened, builtin)
        wait_until(
            lambda: opened.backbones.engines == {"builtin": "openvino"}, 300, "the compiled tower"
        )
        after = answers(opened, builtin)
    assert len(before) == 8
    for old, new in zip(before, after, strict=True):
        assert [label for label, _ in old] == [label for label, _ in new]
        assert [score for _, score in new] == pytest.approx([score for _, score in old], abs=1e-4)


def test_torch_stays_where_it_is_asked_for(builtin: Backbone, tmp_path: Path) -> None:
    with inference("torch", tmp_path) as opened:
        answers(opened, builtin)
    assert opened.backbones.engines == {"builtin": "torch"}


def test_one_process_of_a_machine_converts_and_torch_stays_where_openvino_cannot(
    builtin: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    read: list[str] = []

    def load(name: str, **_: Any) -> Backbone:
        read.append(name)
        return builtin

    def fail(*_: object, **__: object) -> None:
        with (tmp_path / ".lock").open() as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(True)
        raise ValueError("it cannot be converted: no rule for einsum")

    monkeypatch.setattr("app.predictions.backbones.TorchChild", InThisProcess)
    monkeypatch.setitem(torch_child._backbones, "builtin", builtin)
    monkeypatch.setattr("dspt.backbones.compiled.compile_image_tower", fail)
    monkeypatch.setattr("dspt.backbones.load_backbone", load)
    with capture_logs() as logs, inference("auto", tmp_path) as opened:
        answers(opened, builtin)
        wait_until(lambda: read == ["builtin"], 120, "torch in this process")
    assert opened.backbones.engines == {"builtin": "torch"}
    assert held == [True]
    [said] = [line for line in logs if "reason" in line]
    assert said["reason"] == "it cannot be converted: no rule for einsum"
