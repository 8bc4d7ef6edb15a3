"""While torch answers, OpenVINO compiles the image tower; then it answers the same."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.predictions.inference import Inference
from app.predictions.settings import PredictionSettings
from dspt.backbones import compiled, load_backbone
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


def answers(inference: Inference) -> list[list[tuple[str, float]]]:
    """By a prompt, whose class embeddings need the text tower, and by an ensemble."""
    prompt = model_for(load_backbone("builtin"))
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
    converted_towers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([False])
    monkeypatch.setattr(compiled, "is_converted", lambda *_: next(found, True))
    with inference("auto", converted_towers) as opened:
        before = answers(opened)
        wait_until(
            lambda: opened.backbones.engines == {"builtin": "openvino"}, 300, "the compiled tower"
        )
        after = answers(opened)
    assert len(before) == 8
    for old, new in zip(before, after, strict=True):
        assert [label for label, _ in old] == [label for label, _ in new]
        assert [score for _, score in new] == pytest.approx([score for _, score in old], abs=1e-4)


def test_torch_stays_where_it_is_asked_for(tmp_path: Path) -> None:
    with inference("torch", tmp_path) as opened:
        answers(opened)
    assert opened.backbones.engines == {"builtin": "torch"}


def test_one_process_of_a_machine_converts_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []

    def compile_it(*_: object, **__: object) -> None:
        with (tmp_path / ".lock").open() as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(True)
        raise ValueError("enough seen")

    monkeypatch.setattr("dspt.backbones.compiled.compile_image_tower", compile_it)
    with inference("auto", tmp_path) as opened:
        answers(opened)
        wait_until(lambda: held, 120, "the conversion")
    assert held == [True]


def test_torch_stays_where_openvino_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("it cannot be converted: no rule for einsum")

    monkeypatch.setattr("dspt.backbones.compiled.compile_image_tower", fail)
    with capture_logs() as logs, inference("auto", tmp_path) as opened:
        answers(opened)
        wait_until(lambda: any("reason" in line for line in logs), 120, "the reason")
    assert opened.backbones.engines == {"builtin": "torch"}
