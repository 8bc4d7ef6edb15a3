"""The artefact file: what is in it, and how it is written."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
from models import CLASSES, WORDS, blend, raw_manifest, tuned_model, write
from pydantic import ValidationError
from safetensors.torch import load_file

from dspt.classifier.linear import LinearClassifier
from dspt.config import TuneConfig
from dspt.model.artifact import TunedModel, load_model, save_model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


# ------------------------------------------------------------------------------------ what is kept


def test_comes_back_as_it_was(path: Path) -> None:
    model = tuned_model()
    save_model(model, path)
    back = load_model(path)
    assert torch.equal(back.context, model.context)
    assert back.context.dtype == torch.float32
    assert back.manifest == model.manifest
    assert back.manifest.config.n_ctx == 16


def test_class_specific_contexts_come_back(path: Path) -> None:
    config = TuneConfig(n_ctx=3, ctx_init="random", class_specific_context=True)
    model = tuned_model(torch.randn(10, 3, 8), config=config)
    save_model(model, path)
    assert torch.equal(load_model(path).context, model.context)


def test_what_comes_from_tuning_can_be_saved(path: Path) -> None:
    """A context that is a part of a batch, needs a gradient, or is of another precision."""
    batch = torch.randn(512, 3, 16).permute(1, 2, 0).requires_grad_()
    model = tuned_model(batch[1].to(torch.bfloat16))
    save_model(model, path)
    assert torch.equal(load_model(path).context, model.context.detach().float())


def test_a_blend_comes_back(path: Path) -> None:
    model = dataclasses.replace(tuned_model(), blend=blend())
    save_model(model, path)
    back = load_model(path)
    assert back.blend is not None
    assert torch.equal(back.blend.matrix, blend().matrix)
    assert torch.equal(back.blend.bias, blend().bias)
    assert back.blend.matrix.dtype == back.blend.bias.dtype == torch.float32
    assert torch.equal(back.context, model.context)
    assert set(load_file(path)) == {"context", "matrix", "bias"}


def test_a_blend_that_is_a_part_of_something_can_be_saved(path: Path) -> None:
    """Transposed, sharing memory, of another precision, or made in inference mode."""
    with torch.inference_mode():
        made = LinearClassifier(blend().matrix.double().T.contiguous().T, torch.zeros(20)[::2])
    save_model(dataclasses.replace(tuned_model(), blend=made), path)
    back = load_model(path).blend
    assert back is not None
    assert torch.equal(back.matrix, blend().matrix)
    assert torch.equal(back.bias, torch.zeros(10))


def test_a_rounded_matrix_takes_half_the_bytes_and_comes_back_as_it_was(path: Path) -> None:
    made = blend().rounded()
    save_model(dataclasses.replace(tuned_model(), blend=made), path)
    assert load_file(path)["matrix"].dtype == torch.float16
    back = load_model(path).blend
    assert back is not None
    assert torch.equal(back.matrix, made.matrix)
    assert back.matrix.dtype == torch.float32
    assert torch.equal(back.bias, made.bias)


def test_the_version_is_that_of_the_matrix(path: Path) -> None:
    """Whichever version the model was read from."""
    model = tuned_model()
    for matrix, version in ((blend().rounded(), 5), (blend(), 4), (None, 4)):
        save_model(dataclasses.replace(model, blend=matrix), path)
        model = load_model(path)
        assert model.manifest.format == f"dspt.classifier/{version}"


def test_the_fourth_format_with_its_matrix_in_float32_is_still_read(path: Path) -> None:
    tensors = {"context": tuned_model().context, "matrix": blend().matrix, "bias": blend().bias}
    write(path, tensors, raw_manifest(format="dspt.classifier/4"))
    back = load_model(path)
    assert back.manifest.format == "dspt.classifier/4"
    assert back.blend is not None
    assert torch.equal(back.blend.matrix, blend().matrix)


def test_an_rn50_takes_at_most_8_kb_a_class(path: Path) -> None:
    """1,024 columns of the embedding and 2,048 of penultimate features."""
    matrix = torch.randn(10, 3072)
    means = torch.randint(1, 100, (10, 1024), dtype=torch.int8)
    made = LinearClassifier(matrix, torch.zeros(10)).rounded()
    context = tuned_model(torch.zeros(4, 512), config=TuneConfig(n_ctx=4))
    save_model(dataclasses.replace(context, blend=made, class_means=means), path)
    assert path.stat().st_size <= (16 + 8 * 10) << 10


@pytest.mark.parametrize("of_the_model", [None, blend()])
def test_class_means_come_back(path: Path, of_the_model: LinearClassifier | None) -> None:
    means = torch.eye(3, 512).to(torch.int8)
    save_model(dataclasses.replace(tuned_model(), blend=of_the_model, class_means=means), path)
    back = load_model(path)
    assert back.class_means is not None
    assert torch.equal(back.class_means, means)
    assert (back.blend is None) == (of_the_model is None)


def test_a_model_without_an_ensemble_has_none(path: Path) -> None:
    save_model(tuned_model(), path)
    assert load_model(path).blend is load_model(path).class_means is None


def test_the_first_format_is_still_read(path: Path) -> None:
    """It knew no blend, neither among its tensors nor among the settings."""
    manifest = raw_manifest(format="dspt.classifier/1")
    del manifest["config"]["classifier"]
    model = tuned_model()
    write(path, {"context": model.context}, manifest)
    back = load_model(path)
    assert torch.equal(back.context, model.context)
    assert back.blend is None
    assert back.manifest.classes == CLASSES
    assert back.manifest.format == "dspt.classifier/1"


def test_names_of_every_script_come_back(path: Path) -> None:
    classes = ["café\u00a0noir", "赤いキツネ", "👩\u200d🌾", 'quo"te\\', *CLASSES[4:]]
    save_model(tuned_model(classes=classes), path)
    assert load_model(path).manifest.classes == classes


def test_is_no_larger_than_its_context_and_a_kibibyte(path: Path) -> None:
    """16 x 512 float32 are 32 KiB; the manifest comes on top."""
    model = tuned_model()
    save_model(model, path)
    manifest = len(json.dumps(model.manifest.model_dump_json()))
    assert path.stat().st_size - manifest <= 33 * 1024
    assert manifest < 2 * 1024
    assert set(load_file(path)) == {"context"}


def test_can_be_read_without_this_program(path: Path) -> None:
    save_model(tuned_model(), path)
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    manifest = json.loads(header["__metadata__"]["manifest"])
    assert manifest["format"] == "dspt.classifier/4"
    assert manifest["class_words"] == WORDS
    assert header["context"]["dtype"] == "F32"
    assert header["context"]["shape"] == [16, 512]


# --------------------------------------------------------------------------------------- writing


def test_makes_its_folder_and_replaces_an_older_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "model.safetensors"
    save_model(tuned_model(), path)
    save_model(tuned_model(why="again"), path)
    assert load_model(path).manifest.why == "again"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tuned_model(), path)
    before = path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(tuned_model(why="again"), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_first_write_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_model(tuned_model(), path)
    assert list(path.parent.iterdir()) == []


def test_a_folder_in_its_place(path: Path) -> None:
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        save_model(tuned_model(), path)
    assert list(path.parent.iterdir()) == [path]


def test_a_model_that_could_not_be_read_again_cannot_be_made() -> None:
    with pytest.raises(ValidationError, match="class names must be distinct"):
        tuned_model(classes=["same"] * 10)


def test_a_model_cannot_be_changed() -> None:
    model = tuned_model()
    with pytest.raises(ValidationError, match="frozen"):
        model.manifest.why = "other"
    with pytest.raises(AttributeError):
        model.context = torch.zeros(1)  # type: ignore[misc]
    assert isinstance(model, TunedModel)
