"""The threads that decode images and run image towers."""

from __future__ import annotations

import asyncio
import io
import threading

import torch
from PIL import Image
from towers import tiny_backbone

from app.predictions.metrics import EngineMetrics
from app.predictions.settings import PredictionSettings
from app.predictions.towers import Towers
from dspt.data import decode_image
from dspt.errors import ImageError


def photo(shade: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 255 - shade)).save(data, "PNG")
    return data.getvalue()


def test_a_large_request_is_shared_by_the_threads_and_stays_in_order() -> None:
    """Each of the two waits for the other, so that one alone would never end."""
    backbone = tiny_backbone()
    images = [photo(20 * i) for i in range(5)] + [b"none"] + [photo(200)]
    meeting = threading.Barrier(2, timeout=30)

    def answer(features: torch.Tensor) -> list[torch.Tensor]:
        meeting.wait()
        return list(features)

    settings = PredictionSettings(tower_threads=2, batch_images=3, device="cpu")
    towers = Towers(settings, EngineMetrics())
    try:
        found = asyncio.run(towers.encode(backbone, images, answer))
    finally:
        towers.close()
    assert isinstance(found[5], ImageError)
    for image, feature in zip(images[:5] + images[6:], found[:5] + found[6:], strict=True):
        assert not isinstance(feature, ImageError)
        crop = backbone.preprocess.crop(decode_image(image))
        torch.testing.assert_close(feature, backbone.encode_crops(crop[None])[0])
