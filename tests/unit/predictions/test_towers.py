"""The threads that decode images and run image towers."""

from __future__ import annotations

import asyncio
import io
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from towers import tiny_backbone

from app.predictions.metrics import EngineMetrics
from app.predictions.settings import PredictionSettings
from app.predictions.towers import Towers
from dspt.backbones.compiled import Features
from dspt.backbones.transforms import Preprocess
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

    def answer(features: Features) -> list[Features]:
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
        crop = backbone.crop(decode_image(image))
        np.testing.assert_allclose(feature, backbone.encode(crop[None])[0], rtol=1e-5, atol=1e-6)


def test_one_request_of_a_batch_does_not_fail_the_others() -> None:
    """A bad image, a broken model, crops that the tower refuses, a client that goes away."""
    backbone = tiny_backbone()
    broken = replace(backbone, preprocess=_WrongSize(backbone.preprocess))
    release, runs = threading.Event(), list[int]()
    backbone.image_tower.register_forward_hook(lambda _m, inputs, _o: runs.append(len(inputs[0])))
    towers = Towers(PredictionSettings(tower_threads=1, device="cpu"), EngineMetrics())

    def answer(features: Features) -> list[Features]:
        return list(features)

    def fail(_features: Features) -> list[Features]:
        raise ValueError("a broken model")

    async def run() -> list[Any]:
        towers._cpu_threads.submit(release.wait)
        requests = [
            asyncio.create_task(towers.encode(which, [data], what, owner))
            for which, data, what, owner in (
                (backbone, photo(10), answer, "a"),
                (backbone, b"no image", answer, "b"),
                (backbone, photo(20), fail, "c"),
                (broken, photo(30), answer, "d"),
                (backbone, photo(40), answer, "e"),
                (backbone, photo(50), answer, "a"),
            )
        ]
        while not requests[1].done() or waiting(towers) < 5:
            await asyncio.sleep(0.01)
        requests[4].cancel()
        await asyncio.wait(requests[4:5])
        release.set()
        return await asyncio.gather(*requests, return_exceptions=True)

    try:
        first, bad, model, wrong, gone, last = asyncio.run(run())
    finally:
        release.set()
        towers.close()
    assert isinstance(bad[0], ImageError)
    assert str(model) == "a broken model"
    assert isinstance(wrong, RuntimeError)
    assert isinstance(gone, asyncio.CancelledError)
    assert runs == [1, 1, 1]  # the batch failed, so each ran alone; the broken one failed again
    for found, shade in ((first, 10), (last, 50)):
        crop = backbone.crop(decode_image(photo(shade)))
        np.testing.assert_allclose(found[0], backbone.encode(crop[None])[0], rtol=1e-5, atol=1e-6)


class _WrongSize:
    def __init__(self, preprocess: Preprocess) -> None:
        self._preprocess = preprocess
        self.read_side = preprocess.read_side

    def crop(self, image: Image.Image) -> torch.Tensor:
        return self._preprocess.crop(image)[1:]

    def normalised(self, crops: torch.Tensor) -> torch.Tensor:
        return self._preprocess.normalised(crops)


def waiting(towers: Towers) -> int:
    return sum(len(q) for queues in towers._on_cpu._queues.values() for q in queues.values())
