"""The whole job on small real photographs: what it measures, finds, repeats and hands over."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dspt.artifact import load_model, save_model
from dspt.backbones.base import Backbone
from dspt.backbones.builtin import load_builtin
from dspt.config import LossName, TuneConfig
from dspt.data import Dataset, open_dataset, read_image
from dspt.errors import Cancelled, ConfigError, DatasetError, PromptTooLong, UnknownBackbone
from dspt.noise import flip_labels
from dspt.pipeline import Listener, Progress, TuneResult, tune
from dspt.predict import Classifier
from tests.photographs import write_photographs

CLASSES = ("brick", "coins", "moon", "tissue")
"""Zero-shot tells fewer than half of them, so tuning has something to do."""
TRAIN, TEST = 8, 5
STAGES = ["encoding", "zero_shot", "tuning", "evaluating", "saving"]
EPOCHS = 12
SETTINGS: dict[str, Any] = {"epochs": EPOCHS, "batch_size": 16, "device": "cpu"}


class Recorder(Listener):
    """Keeps all that it is told."""

    def __init__(self) -> None:
        self.steps: list[Progress] = []
        self.epochs: list[dict[str, Any]] = []
        self.warnings: list[str] = []

    def progress(self, progress: Progress) -> None:
        self.steps.append(progress)

    def metrics(self, metrics: dict[str, Any]) -> None:
        self.epochs.append(metrics)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_builtin()


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the photographs, kept between the tests."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(
        tmp_path_factory.mktemp("photos"), CLASSES, train=TRAIN, test=TEST, seed=2
    )


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Iterator[Dataset]:
    with open_dataset(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def tuned(
    dataset: Dataset, backbone: Backbone, features: Path
) -> tuple[TuneResult, Recorder, float]:
    """A tuning with the defaults but for its length, what it told, and the seconds it took."""
    recorder = Recorder()
    start = time.monotonic()
    result = run(dataset, backbone, features, listener=recorder)
    return result, recorder, time.monotonic() - start


def run(
    dataset: Dataset,
    backbone: Backbone,
    features: Path,
    listener: Listener | None = None,
    **config: Any,
) -> TuneResult:
    settings = TuneConfig(**SETTINGS | config)
    return tune(dataset, settings, listener=listener, feature_dir=features, backbone=backbone)


def relabelled(dataset: Dataset, labels: list[int], target: Path) -> Path:
    """The training images of `dataset` in the folders of other classes, beside its test images."""
    given = iter(labels)
    for row, item in enumerate(dataset.items):
        label = next(given) if item.split == "train" else item.label
        file = target / item.split / dataset.classes[label] / f"{row:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(dataset.source.read(item.path))
    return target


def images(dataset: Dataset, split: str) -> tuple[list[Image.Image], list[str]]:
    items = [item for item in dataset.items if item.split == split]
    return [read_image(dataset, item) for item in items], [dataset.classes[i.label] for i in items]


def test_measures_zero_shot_and_tuned_on_the_test_images(
    tuned: tuple[TuneResult, Recorder, float],
) -> None:
    metrics = tuned[0].metrics
    assert metrics.keys() == {
        "zero_shot",
        "tuned",
        "served",
        "why",
        "measured_on",
        "labels",
        "history",
        "seconds",
    }
    assert (metrics["measured_on"], metrics["labels"]) == ("test", "clean")
    for name in ("zero_shot", "tuned"):
        part = metrics[name]
        confusion = np.array(part["confusion"])
        assert part["images"] == TEST * len(CLASSES) == confusion.sum()
        assert part["accuracy"] == pytest.approx(confusion.trace() / confusion.sum())
        assert list(part["per_class"]) == list(CLASSES)
    assert metrics["zero_shot"]["accuracy"] <= 0.6
    assert metrics["tuned"]["accuracy"] >= 0.9
    assert metrics["served"] == "tuned"
    assert metrics["why"].startswith("Tuned: on 32 training images")
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_fills_in_what_was_left_open(
    tuned: tuple[TuneResult, Recorder, float], dataset: Dataset, backbone: Backbone
) -> None:
    result = tuned[0]
    assert result.config.n_ctx == 4
    assert result.config.lr == 0.05
    assert result.config.device == "cpu"
    manifest = result.model.manifest
    assert manifest.config == result.config
    assert manifest.dataset_sha256 == dataset.sha256
    assert manifest.backbone_digest == backbone.digest
    assert manifest.classes == list(CLASSES)
    assert "confusion" not in manifest.metrics["tuned"]
    assert manifest.metrics["tuned"]["accuracy"] == result.metrics["tuned"]["accuracy"]
    assert result.model.context.shape == (4, backbone.text_tower.width)


def test_tells_every_epoch_and_how_far_it_is(tuned: tuple[TuneResult, Recorder, float]) -> None:
    result, recorder, _ = tuned
    assert recorder.epochs == result.metrics["history"]
    assert [epoch["epoch"] for epoch in recorder.epochs] == list(range(1, EPOCHS + 1))
    for epoch in recorder.epochs:
        assert all(0 <= epoch[n] <= 1 for n in ("loss", "train_accuracy", "suppressed"))
        assert epoch["lr"] > 0
    assert recorder.epochs[-1]["loss"] < recorder.epochs[0]["loss"]
    assert recorder.warnings == []

    fractions = [step.fraction for step in recorder.steps]
    assert fractions == sorted(fractions)
    assert 0.05 <= fractions[0] < fractions[-1] <= 1
    assert list(dict.fromkeys(step.stage for step in recorder.steps)) == STAGES
    tuning = [step for step in recorder.steps if step.stage == "tuning"]
    assert [step.epoch for step in tuning] == list(range(EPOCHS + 1))
    assert {step.epochs for step in tuning} == {EPOCHS}
    assert recorder.steps[0].eta_seconds is None
    assert all(step.eta_seconds >= 0 for step in recorder.steps[1:] if step.eta_seconds is not None)
    assert recorder.steps[-1].eta_seconds is not None


def test_seconds_of_the_stages_add_up(tuned: tuple[TuneResult, Recorder, float]) -> None:
    result, _, wall = tuned
    seconds = result.metrics["seconds"]
    assert list(seconds) == STAGES[:-1], "saving begins when the function ends"
    assert all(value > 0 for value in seconds.values())
    assert 0.8 * wall < sum(seconds.values()) <= wall


def test_the_saved_artefact_classifies_as_was_measured(
    tuned: tuple[TuneResult, Recorder, float], dataset: Dataset, backbone: Backbone, tmp_path: Path
) -> None:
    result = tuned[0]
    save_model(result.model, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_size < 32 << 10
    classifier = Classifier(load_model(tmp_path / "model.safetensors"), backbone)
    photos, truth = images(dataset, "test")
    answers = classifier.predict(photos, top_k=2)
    right = [top[0][0] == label for top, label in zip(answers, truth, strict=True)]
    assert sum(right) / len(right) == result.metrics["tuned"]["accuracy"]
    assert all(len(top) == 2 and top[0][1] >= top[1][1] for top in answers)


def test_a_seed_repeats_to_the_bit(
    tuned: tuple[TuneResult, Recorder, float], dataset: Dataset, backbone: Backbone, features: Path
) -> None:
    first = tuned[0]
    again = run(dataset, backbone, features)
    assert torch.equal(again.model.context, first.model.context)
    assert again.audit == first.audit
    assert again.metrics["history"] == first.metrics["history"]
    other = run(dataset, backbone, features, seed=2)
    assert not torch.equal(other.model.context, first.model.context)


def test_features_kept_on_disk_change_no_bit(
    tuned: tuple[TuneResult, Recorder, float], dataset: Dataset, backbone: Backbone
) -> None:
    config = TuneConfig(**SETTINGS)
    without = tune(dataset, config, backbone=backbone)
    assert torch.equal(without.model.context, tuned[0].model.context)


def test_measures_on_val_where_there_is_no_test(
    folder: Path, backbone: Backbone, features: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "train", tmp_path / "train")
    shutil.copytree(folder / "test", tmp_path / "val")
    with open_dataset(tmp_path) as dataset:
        metrics = run(dataset, backbone, features, epochs=1).metrics
    assert (metrics["measured_on"], metrics["labels"]) == ("val", "clean")
    assert metrics["tuned"]["images"] == TEST * len(CLASSES)


def test_measures_on_test_rather_than_val(
    folder: Path, backbone: Backbone, features: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "all")
    for name in CLASSES:
        (tmp_path / "all" / "val" / name).mkdir(parents=True)
        shutil.copy(folder / "test" / name / "0.png", tmp_path / "all" / "val" / name)
        (tmp_path / "all" / "test" / name / "0.png").unlink()
    with open_dataset(tmp_path / "all") as dataset:
        metrics = run(dataset, backbone, features, epochs=1).metrics
    assert metrics["measured_on"] == "test"
    assert metrics["tuned"]["images"] == (TEST - 1) * len(CLASSES)


def test_holds_some_training_images_out_where_there_is_neither(
    folder: Path, backbone: Backbone, features: Path
) -> None:
    with open_dataset(folder / "train") as dataset:
        result = run(dataset, backbone, features, epochs=1, validation_fraction=0.25)
    metrics = result.metrics
    assert (metrics["measured_on"], metrics["labels"]) == ("held_out", "given")
    assert metrics["tuned"]["images"] == TRAIN / 4 * len(CLASSES)
    assert len(result.audit.entries) == TRAIN * len(CLASSES), "held-out files are audited too"


def test_finds_planted_wrong_labels(backbone: Backbone, features: Path, tmp_path: Path) -> None:
    clean = write_photographs(tmp_path / "clean", CLASSES, train=12, test=TEST, seed=2)
    with open_dataset(clean) as dataset:
        flips = flip_labels(dataset.labels("train"), len(CLASSES), 0.25, seed=3)
        noisy = relabelled(dataset, list(map(int, flips.labels)), tmp_path / "noisy")
        truth = [dataset.classes[item.label] for item in dataset.items]
    with open_dataset(noisy) as dataset:
        result = run(dataset, backbone, features, epochs=30, batch_size=32, precision="float32")

    audit = result.audit
    assert audit.can_tell
    scores = [entry.score for entry in audit.entries]
    assert scores == sorted(scores, reverse=True)
    truths = [truth[int(Path(entry.file).stem)] for entry in audit.entries]
    wrong = np.array([e.given != t for e, t in zip(audit.entries, truths, strict=True)])
    planted = wrong.sum()
    assert planted == 12
    # By chance: an area of a half, and a quarter of any files wrong.
    after = np.array([(~wrong[rank:]).sum() for rank in range(len(wrong))])
    assert after[wrong].sum() / (planted * (~wrong).sum()) >= 0.85
    assert wrong[:planted].sum() >= 8
    suspect = np.array([entry.suspect for entry in audit.entries])
    assert wrong[suspect].sum() >= 7
    assert wrong[suspect].mean() >= 0.7
    suggested = np.array([e.suggested == t for e, t in zip(audit.entries, truths, strict=True)])
    assert suggested[wrong & suspect].mean() >= 0.7
    metrics = result.metrics
    assert metrics["tuned"]["accuracy"] > metrics["zero_shot"]["accuracy"] + 0.2


def test_cannot_tell_where_labels_are_random(
    dataset: Dataset, backbone: Backbone, features: Path, tmp_path: Path
) -> None:
    # Every true class gets every label equally often: the labels say nothing of the image.
    labels = [row % len(CLASSES) for row in range(TRAIN * len(CLASSES))]
    with open_dataset(relabelled(dataset, labels, tmp_path / "random")) as noise:
        audit = run(noise, backbone, features).audit
    assert not audit.can_tell
    assert audit.suspects == ()
    assert "no better than chance" in audit.why
    assert len(audit.entries) == TRAIN * len(CLASSES)


@pytest.mark.parametrize("loss", ["dspt", "ce", "gce", "mae"])
def test_every_loss_learns(
    dataset: Dataset, backbone: Backbone, features: Path, loss: LossName
) -> None:
    result = run(dataset, backbone, features, loss=loss, epochs=20)
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
        ({"augment_views": 2}, (4,)),
        ({"batch_size": 3}, (4,)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_other_forms_tune_and_come_back_from_their_artefact(
    dataset: Dataset,
    backbone: Backbone,
    features: Path,
    tmp_path: Path,
    config: dict[str, Any],
    shape: tuple[int, ...] | None,
) -> None:
    result = run(dataset, backbone, features, **config)
    context = result.model.context
    if shape is not None:
        assert context.shape == (*shape, backbone.text_tower.width)
    assert result.config.n_ctx == context.shape[-2]
    save_model(result.model, tmp_path / "model.safetensors")
    model = load_model(tmp_path / "model.safetensors")
    assert torch.equal(model.context, context)
    classifier = Classifier(model, backbone)
    photos, truth = images(dataset, "test")
    right = [
        top[0][0] == label for top, label in zip(classifier.predict(photos, 1), truth, strict=True)
    ]
    served = result.metrics[result.metrics["served"]]
    assert sum(right) / len(right) == served["accuracy"] >= 0.8


def test_augmented_views_are_tuned_on(
    tuned: tuple[TuneResult, Recorder, float], dataset: Dataset, backbone: Backbone, features: Path
) -> None:
    views = run(dataset, backbone, features, augment_views=2)
    assert not torch.equal(views.model.context, tuned[0].model.context)
    assert views.metrics["zero_shot"] == tuned[0].metrics["zero_shot"]


def test_shots_cap_what_is_tuned_on_but_not_what_is_audited(
    folder: Path, dataset: Dataset, backbone: Backbone, features: Path
) -> None:
    result = run(dataset, backbone, features, shots=2)
    assert len(result.audit.entries) == TRAIN * len(CLASSES)
    assert result.metrics["tuned"]["images"] == TEST * len(CLASSES)
    with open_dataset(folder / "train") as untested:
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
        open_dataset(folder / "train") as dataset,
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
        with open_dataset(path) as dataset:
            result = run(dataset, backbone, features)
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
    with open_dataset(tmp_path) as dataset:
        result = run(dataset, backbone, features)
    assert len(result.audit.entries) == 2
    with (
        open_dataset(tmp_path / "train") as dataset,
        pytest.raises(DatasetError, match="a test/ folder") as caught,
    ):
        run(dataset, backbone, features)
    assert caught.value.code == "nothing_to_measure_on"


def test_bfloat16_and_float32_come_close(
    dataset: Dataset, backbone: Backbone, features: Path
) -> None:
    full, half = (
        run(dataset, backbone, features, precision=precision)
        for precision in ("float32", "bfloat16")
    )
    accuracies = [result.metrics["tuned"]["accuracy"] for result in (full, half)]
    assert accuracies == pytest.approx([max(accuracies)] * 2, abs=0.051), "one image at most"
    assert min(accuracies) >= 0.9
    assert not torch.equal(full.model.context, half.model.context)
    assert full.model.context.dtype == half.model.context.dtype == torch.float32
    # How they rank the files is alike too.
    ranks = [[entry.file for entry in result.audit.entries][:16] for result in (full, half)]
    assert len(set(ranks[0]) & set(ranks[1])) >= 12


@pytest.mark.parametrize("stage", ["encoding", "tuning"])
def test_cancelling_stops_in_the_stage_that_it_is_in(
    dataset: Dataset, backbone: Backbone, features: Path, tmp_path: Path, stage: str
) -> None:
    stop = threading.Event()

    class Stopping(Recorder):
        def progress(self, progress: Progress) -> None:
            super().progress(progress)
            if progress.stage == stage and (stage == "encoding" or progress.epoch == 2):
                stop.set()

    listener = Stopping()
    with pytest.raises(Cancelled, match=stage):
        tune(
            dataset,
            TuneConfig(**SETTINGS),
            listener=listener,
            should_stop=stop.is_set,
            feature_dir=tmp_path if stage == "encoding" else features,
            backbone=backbone,
        )
    assert listener.steps[-1].stage == stage
    assert len(listener.epochs) == (2 if stage == "tuning" else 0)


def test_goes_on_from_a_checkpoint_to_the_same_bits(
    tuned: tuple[TuneResult, Recorder, float],
    dataset: Dataset,
    backbone: Backbone,
    features: Path,
    tmp_path: Path,
) -> None:
    recorder = Recorder()

    def go(should_stop: bool) -> TuneResult:
        return tune(
            dataset,
            TuneConfig(**SETTINGS),
            listener=recorder,
            should_stop=lambda: should_stop and len(recorder.epochs) == 3,
            feature_dir=features,
            checkpoint_file=tmp_path / "state",
            backbone=backbone,
        )

    with pytest.raises(Cancelled):
        go(should_stop=True)
    result = go(should_stop=False)
    assert [epoch["epoch"] for epoch in recorder.epochs] == list(range(1, EPOCHS + 1))
    assert torch.equal(result.model.context, tuned[0].model.context)
    assert result.metrics["history"] == tuned[0].metrics["history"]
    assert result.audit == tuned[0].audit


def test_features_that_cannot_be_kept_are_a_warning(
    dataset: Dataset, backbone: Backbone, tmp_path: Path
) -> None:
    (tmp_path / "features.sqlite").write_bytes(b"damaged " * 1000)
    recorder = Recorder()
    result = run(dataset, backbone, tmp_path, listener=recorder, epochs=1)
    assert result.metrics["tuned"]["images"] == TEST * len(CLASSES)
    (warning,) = recorder.warnings
    assert str(tmp_path / "features.sqlite") in warning


def test_loads_the_backbone_that_the_configuration_names(
    dataset: Dataset, backbone: Backbone, features: Path
) -> None:
    result = tune(dataset, TuneConfig(epochs=1, device="cpu"), feature_dir=features)
    assert result.model.manifest.backbone_digest == backbone.digest
    with pytest.raises(UnknownBackbone, match="did you mean ViT-B-16"):
        tune(dataset, TuneConfig(backbone="ViT-B-17/openai"))


def test_settings_that_do_not_fit_are_named(
    dataset: Dataset, folder: Path, backbone: Backbone, features: Path
) -> None:
    with pytest.raises(ConfigError, match=r"n_ctx is 7.*4 tokens") as caught:
        run(dataset, backbone, features, n_ctx=7)
    assert caught.value.param == "n_ctx"
    words = "x1" * 90
    with open_dataset(folder, {"moon": words}) as long, pytest.raises(PromptTooLong) as too_long:
        run(long, backbone, features)
    assert too_long.value.param == words
