"""Image towers compiled for the processor: the same features, or a reason why not."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dspt.backbones import load_backbone
from dspt.backbones.base import Backbone
from dspt.backbones.compiled import MAX_DIFFERENCE, compile_image_tower
from dspt.backbones.convert import CannotConvert, convert


@pytest.fixture(scope="module")
def builtin() -> Backbone:
    return load_backbone("builtin")


@pytest.fixture
def _own_fast_path() -> Iterator[None]:
    """To convert switches torch's off, as it has a process of its own."""
    fast = torch.backends.mha.get_fastpath_enabled()
    yield
    torch.backends.mha.set_fastpath_enabled(fast)


def random_pixels(size: int, side: int = 224) -> Tensor:
    return torch.rand(size, 3, side, side, generator=torch.Generator().manual_seed(size))


def test_the_features_are_the_same_for_any_batch(builtin: Backbone, converted_towers: Path) -> None:
    compiled = compile_image_tower(builtin, converted_towers)
    assert (compiled.digest, compiled.device) == (builtin.digest, torch.device("cpu"))
    assert (builtin.engine, compiled.engine) == ("torch", "openvino")
    kept = []
    for size in (1, 5):
        pixels = random_pixels(size)
        found = compiled.encode_image(pixels)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, builtin.encode_image(pixels), rtol=0, atol=1e-5)
        kept.append((found, found.clone()))
    for found, as_it_was in kept:  # the next batch does not write over them
        assert torch.equal(found, as_it_was)


def test_several_threads_use_it_at_once(builtin: Backbone, converted_towers: Path) -> None:
    compiled = compile_image_tower(builtin, converted_towers, streams=2)
    batches = [random_pixels(size) for size in (1, 2, 3, 4) * 2]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(compiled.encode_image, batches))
    for pixels, features in zip(batches, found, strict=True):
        torch.testing.assert_close(features, builtin.encode_image(pixels), rtol=0, atol=1e-5)


def test_what_was_converted_is_kept(
    builtin: Backbone, converted_towers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [kept] = converted_towers.iterdir()
    assert kept.name.startswith(builtin.digest)
    monkeypatch.setattr("sys.executable", "/nowhere")
    assert compile_image_tower(builtin, converted_towers).engine == "openvino"


def test_a_tower_that_comes_out_different_is_refused(
    builtin: Backbone, converted_towers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MAX_DIFFERENCE, "f32", 1e-12)
    with pytest.raises(ValueError, match="features differ from"):
        compile_image_tower(builtin, converted_towers)


def test_a_failed_conversion_leaves_a_reason_and_no_files(
    builtin: Backbone, tmp_path: Path
) -> None:
    nameless = replace(builtin, name="local-dir:/nowhere", digest="ab" * 32)
    with pytest.raises(ValueError, match=r"(?s)cannot be converted: .*nowhere"):
        compile_image_tower(nameless, tmp_path)
    assert list(tmp_path.iterdir()) == []


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
