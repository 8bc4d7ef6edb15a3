"""Losses, prompts, shots and precisions of the whole job, each on the same photographs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from dspt.backbones.base import Backbone
from dspt.config import LossName
from dspt.data import Dataset, load_dataset
from dspt.errors import ConfigError, DatasetError
from dspt.model.add_class import add_classes
from dspt.model.artifact import load_model, save_model
from dspt.model.predict import FeatureClassifier
from dspt.pipeline import TuneResult
from tests.integration.pipeline.runs import (
    CLASSES,
    TEST,
    TRAIN,
    Recorder,
    Seen,
    run,
)


@pytest.mark.parametrize("loss", ["dspt", "ce", "gce", "mae"])
def test_every_loss_learns(
    tuned: tuple[TuneResult, Recorder, float],
    dataset: Dataset,
    backbone: Backbone,
    features: Path,
    loss: LossName,
) -> None:
    result = tuned[0] if loss == "dspt" else run(dataset, backbone, features, loss=loss)
    assert result.config.loss == loss
    history = result.metrics["history"]
    assert history[-1]["loss"] < history[0]["loss"]
    assert result.metrics["tuned"]["accuracy"] >= 0.9
    assert result.audit.can_tell


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        ({"class_specific_context": True}, (4, 4)),
        ({"ctx_init": "random"}, (16,)),
        ({"ctx_init": "random", "n_ctx": 3, "class_specific_context": True}, (4, 3)),
        ({"ctx_init": "a centred satellite photo of"}, None),
        ({"augment_views": 1}, (4,)),
        ({"batch_size": 3, "epochs": 1}, (4,)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_other_forms_tune_and_come_back_from_their_artefact(
    tuned: tuple[TuneResult, Recorder, float],
    dataset: Dataset,
    backbone: Backbone,
    features: Path,
    seen: Seen,
    tmp_path: Path,
    config: dict[str, Any],
    shape: tuple[int, ...] | None,
) -> None:
    result = run(dataset, backbone, features, **{"epochs": 2} | config)
    context = result.model.context
    assert not torch.equal(context, tuned[0].model.context)
    assert result.metrics["zero_shot"] == tuned[0].metrics["zero_shot"]
    if shape is not None:
        assert context.shape == (*shape, backbone.text_tower.width)
    assert result.config.n_ctx == context.shape[-2]
    save_model(result.model, tmp_path / "model.safetensors")
    model = load_model(tmp_path / "model.safetensors")
    assert torch.equal(model.context, context)
    served = result.metrics[result.metrics["served"]]
    assert seen.accuracy(FeatureClassifier(model, backbone)) == served["accuracy"] >= 0.8


def test_without_tuning_the_class_means_are_fitted_and_served(
    dataset: Dataset, backbone: Backbone, features: Path, seen: Seen, tmp_path: Path
) -> None:
    recorder = Recorder()
    result = run(dataset, backbone, features, recorder, tuning="none", ctx_init="random")
    metrics = result.metrics
    assert metrics["history"] == recorder.epochs == []
    assert "tuning" not in {progress.stage for progress in recorder.steps}
    assert recorder.steps[-1].stage == "saving"
    assert metrics["prompt"] == metrics["zero_shot"]
    assert (
        metrics["blend"]["prompt"]
        == 0
        < min(metrics["blend"]["zero_shot"], metrics["blend"]["class_means"])
    )
    assert metrics["served"] == "tuned"
    assert metrics["tuned"]["accuracy"] >= 0.9 > metrics["zero_shot"]["accuracy"]
    assert result.audit.can_tell

    save_model(result.model, tmp_path / "model.safetensors")
    model = load_model(tmp_path / "model.safetensors")
    assert model.manifest.config.tuning == "none"
    assert seen.accuracy(FeatureClassifier(model, backbone)) == metrics["tuned"]["accuracy"]
    extended = add_classes(model, {"stop sign": None}, backbone)
    assert extended.blend is not None
    assert len(extended.blend.matrix) == len(CLASSES) + 1


def test_shots_cap_what_is_tuned_on_but_not_what_is_audited(
    folder: Path, dataset: Dataset, backbone: Backbone, features: Path
) -> None:
    result = run(dataset, backbone, features, epochs=1, shots=2)
    assert len(result.audit.entries) == TRAIN * len(CLASSES)
    assert result.metrics["tuned"]["images"] == TEST * len(CLASSES)
    with load_dataset(folder / "train") as untested:
        held_out = run(untested, backbone, features, epochs=1, shots=2)
    assert held_out.metrics["tuned"]["images"] == len(CLASSES), "one of two, per class"


@pytest.mark.parametrize("seed", range(2))
def test_one_shot_works(dataset: Dataset, backbone: Backbone, features: Path, seed: int) -> None:
    result = run(dataset, backbone, features, shots=1, epochs=1, seed=seed)
    assert len(result.audit.entries) == TRAIN * len(CLASSES)


def test_one_shot_without_test_images_says_what_to_add(
    folder: Path, backbone: Backbone, features: Path
) -> None:
    with (
        load_dataset(folder / "train") as dataset,
        pytest.raises(ConfigError, match=r"shots is 1.*test/"),
    ):
        run(dataset, backbone, features, shots=1)


def test_a_class_with_one_image_works(
    folder: Path, backbone: Backbone, features: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "all")
    for number in range(1, TRAIN):
        (tmp_path / "all" / "train" / "coins" / f"{number}.png").unlink()
    for path in (tmp_path / "all", tmp_path / "all" / "train"):
        with load_dataset(path) as dataset:
            result = run(dataset, backbone, features, epochs=1)
        assert len(result.audit.entries) == TRAIN * 3 + 1
        assert [e.given for e in result.audit.entries].count("coins") == 1
        assert torch.isfinite(result.model.context).all()


def test_nothing_but_classes_of_one_image_needs_a_test_folder(
    folder: Path, backbone: Backbone, features: Path, tmp_path: Path
) -> None:
    for name in CLASSES[:2]:
        for split in ("train", "test"):
            (tmp_path / split / name).mkdir(parents=True)
            shutil.copy(folder / split / name / "0.png", tmp_path / split / name)
    with load_dataset(tmp_path) as dataset:
        result = run(dataset, backbone, features, epochs=1)
    assert len(result.audit.entries) == 2
    with (
        load_dataset(tmp_path / "train") as dataset,
        pytest.raises(DatasetError, match="a test/ folder") as caught,
    ):
        run(dataset, backbone, features)
    assert caught.value.code == "nothing_to_measure_on"


def test_bfloat16_and_float32_come_close(
    dataset: Dataset, backbone: Backbone, features: Path
) -> None:
    full = run(dataset, backbone, features, epochs=2, precision="float32")
    half = run(dataset, backbone, features, epochs=2, precision="bfloat16")
    accuracies = [result.metrics["tuned"]["accuracy"] for result in (full, half)]
    assert accuracies == pytest.approx([max(accuracies)] * 2, abs=0.051), "one image at most"
    assert min(accuracies) >= 0.9
    assert not torch.equal(full.model.context, half.model.context)
    assert full.model.context.dtype == half.model.context.dtype == torch.float32
    # How they rank the files is alike too.
    ranks = [[entry.file for entry in result.audit.entries][:16] for result in (full, half)]
    assert len(set(ranks[0]) & set(ranks[1])) >= 12
