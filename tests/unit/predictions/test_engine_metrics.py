"""What the inference tells Prometheus of its work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from app.predictions.inference import Inference
from app.predictions.metrics import EngineMetrics
from app.predictions.settings import PredictionSettings
from dspt.backbones.base import Backbone
from dspt.errors import ImageError
from tests.photographs import jpegs
from tests.unit.models import artifact_of, model_for


def test_the_engine_is_measured(
    builtin: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dspt.backbones.load_backbone", lambda name, device: builtin)
    registry = CollectorRegistry()
    settings = PredictionSettings.model_validate(
        {"engine": "torch", "device": "cpu", "batch_images": 2}
    )
    inference = Inference(settings, tmp_path, EngineMetrics(registry))
    model = artifact_of(model_for(builtin))
    images = jpegs(2)

    async def ask() -> None:
        for _ in range(2):
            served = await inference.prepare("model", lambda: model)
            with inference.room(3, None):
                assert value("images_waiting") == 3
                found = await inference.predict([served], [*images, b"no image"], 3)
        assert isinstance(found[-1], ImageError)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"dspt_predict_{name}", labels)

    assert value("matrices") == value("backbones", engine="torch") == 0
    try:
        asyncio.run(ask())
    finally:
        inference.close()
    assert value("images_total", outcome="classified") == 4
    assert value("images_total", outcome="unreadable") == 2
    # A slow machine may decode the second image after the first one's batch has begun.
    batches = value("batch_images_count", engine="torch")
    assert batches in (2, 3, 4)
    assert value("batch_images_sum", engine="torch") == 4
    assert value("batch_images_bucket", engine="torch", le="2.0") == batches
    assert value("batch_seconds_count", engine="torch") == batches
    assert value("decode_seconds_count") == 6
    assert value("matrix_lookups_total", result="hit") == 1
    assert value("matrix_lookups_total", result="miss") == 1
    assert value("matrices") == value("backbones", engine="torch") == 1
    assert value("backbones", engine="openvino") == value("images_waiting") == 0
    assert value("matrix_bytes") == inference._matrices.bytes > 0
    assert value("backbone_bytes") == inference.backbones.bytes > 1e6
