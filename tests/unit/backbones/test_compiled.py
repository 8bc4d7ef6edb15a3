"""Image towers compiled for the processor: the same features, or a reason why not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dspt.backbones.base import Backbone
from dspt.backbones.compiled import (
    CompiledTower,
    compile_image_tower,
    converted_digest,
)
from dspt.backbones.convert import CannotConvert, convert, main
from tests.photographs import jpegs


@pytest.fixture
def _own_fast_path() -> Iterator[None]:
    """To convert switches torch's off, as it has a process of its own."""
    fast = torch.backends.mha.get_fastpath_enabled()
    yield
    torch.backends.mha.set_fastpath_enabled(fast)


def random_pixels(size: int, side: int = 224) -> Tensor:
    return torch.rand(size, 3, side, side, generator=torch.Generator().manual_seed(size))


def compiled(builtin: Backbone, folder: Path, **options: Any) -> CompiledTower:
    return compile_image_tower("builtin", builtin.digest, folder, **options)


def assert_same_features(tower: CompiledTower, backbone: Backbone, pixels: Tensor) -> None:
    expected = backbone.encode_image(pixels).numpy()
    np.testing.assert_allclose(tower.encode_pixels(pixels.numpy()), expected, rtol=0, atol=1e-5)


def test_the_features_are_the_same_for_any_batch(builtin: Backbone, converted_towers: Path) -> None:
    tower = compiled(builtin, converted_towers)
    assert (tower.name, tower.digest) == ("builtin", builtin.digest)
    assert (tower.embed_dim, tower.feature_dim) == (512, 1792)
    assert (builtin.engine, tower.engine) == ("torch", "openvino")
    kept = []
    for size in (1, 5):
        pixels = random_pixels(size)
        assert_same_features(tower, builtin, pixels)
        found = tower.encode_pixels(pixels.numpy())
        kept.append((found, found.copy()))
    for found, as_it_was in kept:  # the next batch does not write over them
        assert np.array_equal(found, as_it_was)


def test_photos_are_prepared_bit_for_bit_as_for_torch(
    builtin: Backbone, converted_towers: Path
) -> None:
    tower = compiled(builtin, converted_towers)
    photos = [Image.open(io.BytesIO(jpeg)).convert("RGB") for jpeg in jpegs(3)]
    crops = np.stack([tower.crop(photo) for photo in photos])
    theirs = torch.stack([builtin.preprocess.crop(photo) for photo in photos])
    assert np.array_equal(crops, theirs.numpy())
    pixels = builtin.preprocess.normalised(theirs).numpy()
    assert np.array_equal(tower._preprocessing.normalised(crops), pixels)
    np.testing.assert_allclose(tower.encode(crops), builtin.encode(crops), rtol=0, atol=1e-5)


def test_several_threads_use_it_at_once(builtin: Backbone, converted_towers: Path) -> None:
    tower = compiled(builtin, converted_towers, streams=2)
    batches = [random_pixels(size) for size in (1, 2, 3) * 2]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda pixels: assert_same_features(tower, builtin, pixels), batches))


def test_what_was_converted_is_kept(
    builtin: Backbone, converted_towers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [kept] = converted_towers.iterdir()
    assert kept.name.startswith(builtin.digest)
    assert converted_digest("builtin", converted_towers) == builtin.digest
    assert converted_digest("ViT-B-16/openai", converted_towers) is None
    monkeypatch.setattr("sys.executable", "/nowhere")
    assert compiled(builtin, converted_towers).engine == "openvino"


def test_a_tower_that_comes_out_different_is_refused(
    builtin: Backbone, converted_towers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dspt.backbones.compiled.MAX_DIFFERENCE", 1e-12)
    with pytest.raises(ValueError, match="features differ from"):
        compiled(builtin, converted_towers)


def test_weights_that_have_changed_are_not_converted(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="the weights of builtin have changed"):
        main("builtin", "ab" * 32, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_conversion_leaves_a_reason_and_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\ntouch "$6/begun"\necho no such operator >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    with pytest.raises(ValueError, match="cannot be converted: no such operator"):
        compile_image_tower("builtin", "ab" * 32, tmp_path / "towers")
    assert list((tmp_path / "towers").iterdir()) == []


class Attention(nn.Module):
    """Has the operator that torch puts in the place of attention."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.encoder(pixels.flatten(1).unflatten(1, (-1, 16))).mean(1)
        return features


@pytest.mark.usefixtures("_own_fast_path")
def test_attention_is_converted_though_torch_has_a_fast_path_of_its_own() -> None:
    import openvino

    tower = Attention().eval()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(convert(tower, 8), "CPU", exact)
    pixels = random_pixels(3, 8)
    (found,) = compiled(pixels.numpy()).values()
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), tower(pixels), rtol=0, atol=1e-5)


class Decides(nn.Module):
    """Looks at the pixels to find out what to do, which torch cannot export."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1) if pixels.sum() > 0 else pixels.flatten(1).flip(1)


class Guesses(nn.Module):
    """Has an operator that OpenVINO does not know."""

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.rand_like(pixels).flatten(1)


@pytest.mark.usefixtures("_own_fast_path")
@pytest.mark.parametrize("tower", [Decides(), Guesses()], ids=["decides", "guesses"])
def test_a_tower_that_cannot_be_converted(tower: nn.Module) -> None:
    with pytest.raises(CannotConvert):
        convert(tower, 8)
