"""The whole job on small real photographs: what it measures, finds, repeats and hands over."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from app.datasets.demo_photos import PHOTOGRAPHS
from dspt.backbones.base import Backbone
from dspt.config import DEFAULT_LR, TuneConfig
from dspt.data import Dataset, load_dataset
from dspt.data.splits import Splits
from dspt.features.encode import encode_images
from dspt.labels.inject import flip_labels
from dspt.model.artifact import load_model, save_model
from dspt.model.drift import distances
from dspt.model.predict import FeatureClassifier, ImageClassifier
from dspt.pipeline import TuneResult, tune
from tests.integration.pipeline.runs import (
    CLASSES,
    EPOCHS,
    SETTINGS,
    STAGES,
    TEST,
    TRAIN,
    Recorder,
    Seen,
    images,
    relabelled,
    run,
    same_blend,
)
from tests.photographs import write_photographs


def test_measures_zero_shot_and_tuned_on_the_test_images(
    tuned: tuple[TuneResult, Recorder, float],
) -> None:
    metrics = tuned[0].metrics
    assert metrics.keys() == {
        "zero_shot",
        "prompt",
        "tuned",
        "served",
        "why",
        "temperatures",
        "blend",
        "noise_rate",
        "drift_baseline",
        "copies",
        "measured_on",
        "labels",
        "history",
        "seconds",
    }
    assert (metrics["measured_on"], metrics["labels"]) == ("test", "clean")
    for name in ("zero_shot", "prompt", "tuned"):
        part = metrics[name]
        confusion = np.array(part["confusion"])
        assert part["images"] == TEST * len(CLASSES) == confusion.sum()
        assert part["accuracy"] == pytest.approx(confusion.trace() / confusion.sum())
        assert list(part["per_class"]) == list(CLASSES)
    assert metrics["zero_shot"]["accuracy"] <= 0.6
    assert metrics["tuned"]["accuracy"] >= 0.9
    assert metrics["tuned"]["accuracy"] >= metrics["prompt"]["accuracy"]
    assert metrics["blend"].keys() == {"zero_shot", "prompt", "class_means"}
    assert all(weight > 0 for weight in metrics["blend"].values())
    assert metrics["noise_rate"]["estimate"] <= 0.1
    assert metrics["served"] == "tuned"
    assert metrics["why"].startswith(
        "Serving the tuned classifier. In cross-validation on 32 training "
    )
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_knows_photos_of_another_kind_by_their_distance(
    tuned: tuple[TuneResult, Recorder, float], backbone: Backbone, tmp_path: Path
) -> None:
    model, baseline = tuned[0].model, tuned[0].metrics["drift_baseline"]
    assert model.class_means is not None
    assert len(model.class_means) == len(CLASSES)
    assert baseline["images"] == TEST * len(CLASSES)
    others = [each.folder for each in PHOTOGRAPHS if each.folder not in CLASSES][::2]

    def figures(classes: Sequence[str]) -> tuple[float, float]:
        """Of new crops: the mean distance, and the share of photos that are far."""
        folder = write_photographs(tmp_path / classes[0], classes, train=1, test=TEST, seed=9)
        with load_dataset(folder / "test") as opened:
            crops = encode_images(backbone, opened)[:, 0].numpy()
        assert model.class_means is not None
        found = distances(model.class_means.numpy(), crops)
        return float(found.mean()), float((found > baseline["far_beyond"]).mean())

    (same, same_far), (other, other_far) = figures(CLASSES), figures(others)
    assert same == pytest.approx(baseline["distance"], rel=0.3)
    assert other > 1.5 * baseline["distance"]
    assert same_far <= 0.25 < 0.9 <= other_far


def test_fills_in_what_was_left_open(
    tuned: tuple[TuneResult, Recorder, float], dataset: Dataset, backbone: Backbone
) -> None:
    result = tuned[0]
    assert result.config.n_ctx == 4
    assert result.config.lr == DEFAULT_LR["dspt"]
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
    (warning,) = recorder.warnings
    assert [each.text for each in result.health.findings] == [warning]
    assert result.health.images == result.health.photos
    assert warning.startswith("Zero-shot is no better than chance for")

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
    size = (tmp_path / "model.safetensors").stat().st_size
    assert size < (16 + 8 * len(dataset.classes)) << 10
    classifier = ImageClassifier(load_model(tmp_path / "model.safetensors"), backbone)
    photos, truth = images(dataset, "test")
    answers = classifier.predict(photos, top_k=2)
    right = [top[0][0] == label for top, label in zip(answers, truth, strict=True)]
    assert sum(right) / len(right) == result.metrics["tuned"]["accuracy"]
    assert all(len(top) == 2 and top[0][1] >= top[1][1] for top in answers)


def test_a_seed_repeats_to_the_bit(dataset: Dataset, backbone: Backbone, features: Path) -> None:
    first, again = (run(dataset, backbone, features, epochs=1) for _ in range(2))
    assert torch.equal(again.model.context, first.model.context)
    assert same_blend(again, first)
    assert again.audit == first.audit
    assert again.metrics["history"] == first.metrics["history"]
    other = run(dataset, backbone, features, epochs=1, seed=2)
    assert not torch.equal(other.model.context, first.model.context)
    assert not same_blend(other, first)


def test_features_kept_on_disk_change_no_bit(
    few: Dataset, backbone: Backbone, tmp_path: Path
) -> None:
    without = tune(few, TuneConfig(**SETTINGS | {"epochs": 1}), backbone=backbone)
    for _ in range(2):  # the second time they are read
        kept = run(few, backbone, tmp_path, epochs=1)
        assert torch.equal(kept.model.context, without.model.context)
        assert same_blend(kept, without)


def test_the_prompt_alone_where_it_is_asked_for(
    tuned: tuple[TuneResult, Recorder, float],
    dataset: Dataset,
    backbone: Backbone,
    features: Path,
    seen: Seen,
    tmp_path: Path,
) -> None:
    result = run(dataset, backbone, features, classifier="prompt")
    assert torch.equal(result.model.context, tuned[0].model.context)
    assert result.audit == tuned[0].audit, "the labels are judged by all that is known"
    assert result.metrics["tuned"] == result.metrics["prompt"] == tuned[0].metrics["prompt"]
    assert result.model.blend is None
    save_model(result.model, tmp_path / "model.safetensors")
    classifier = FeatureClassifier(load_model(tmp_path / "model.safetensors"), backbone)
    assert seen.accuracy(classifier) == result.metrics["prompt"]["accuracy"]


def test_measures_on_val_where_there_is_no_test(
    folder: Path, backbone: Backbone, features: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "train", tmp_path / "train")
    shutil.copytree(folder / "test", tmp_path / "val")
    with load_dataset(tmp_path) as dataset:
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
    with load_dataset(tmp_path / "all") as dataset:
        metrics = run(dataset, backbone, features, epochs=1).metrics
    assert metrics["measured_on"] == "test"
    assert metrics["tuned"]["images"] == (TEST - 1) * len(CLASSES)
    assert f"training images and on {len(CLASSES)} images in val/ it gives" in metrics["why"]


def test_holds_some_training_images_out_where_there_is_neither(
    folder: Path, backbone: Backbone, features: Path
) -> None:
    with load_dataset(folder / "train") as dataset:
        result = run(dataset, backbone, features, epochs=1, validation_fraction=0.25)
    metrics = result.metrics
    assert (metrics["measured_on"], metrics["labels"]) == ("held_out", "given")
    assert metrics["tuned"]["images"] == TRAIN / 4 * len(CLASSES)
    assert len(result.audit.entries) == TRAIN * len(CLASSES), "held-out files are audited too"


def test_photos_without_labels_are_used_unless_they_are_copies(
    folder: Path, dataset: Dataset, backbone: Backbone, features: Path, tmp_path: Path
) -> None:
    more = write_photographs(tmp_path / "more", CLASSES, train=6, seed=5)
    whole = tmp_path / "whole"
    shutil.copytree(folder, whole)
    new = [*more.rglob("*.png")]
    copied = [next((folder / part).rglob("*.png")) for part in ("train", "test")]
    (whole / "unlabelled").mkdir()
    for number, file in enumerate([*new, *copied, new[0]]):
        shutil.copy(file, whole / "unlabelled" / f"{number}.png")
    plain = run(dataset, backbone, features, tuning="none")
    recorder = Recorder()
    with load_dataset(whole) as opened:
        found = run(opened, backbone, features, listener=recorder, tuning="none")
        prompt = run(opened, backbone, features, epochs=1, classifier="prompt")
    report = found.metrics["unlabelled"]
    assert report["photos"] == len(new) + 3
    assert 0 < report["used"] <= len(new)
    assert report["accuracy_without"] == plain.metrics["tuned"]["accuracy"]
    assert found.metrics["tuned"]["images"] == plain.metrics["tuned"]["images"]
    assert found.metrics["noise_rate"] == plain.metrics["noise_rate"]
    assert found.audit == plain.audit
    assert not same_blend(found, plain)
    assert any("of each other are not used" in text for text in recorder.warnings)
    assert prompt.metrics["unlabelled"]["used"] == 0
    assert "unlabelled" not in plain.metrics


def test_held_out_images_do_not_reach_the_classifier(
    folder: Path,
    backbone: Backbone,
    features: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither what they show nor what they are called: the same to the bit with others."""
    settings = {"epochs": 1, "validation_fraction": 0.25}
    with load_dataset(folder / "train") as dataset:
        expected = run(dataset, backbone, features, **settings)
        splits = Splits.of(dataset, expected.config)
        held_out = [dataset.items[row] for row in splits.measured]
    assert len(held_out) == TRAIN
    shutil.copytree(folder / "train", tmp_path / "changed")
    for number, item in enumerate(held_out):
        other = CLASSES[(item.label + 1) % len(CLASSES)]
        photo = folder / "test" / other / f"{number % TEST}.png"
        shutil.copy(photo, tmp_path / "changed" / item.path)
    with load_dataset(tmp_path / "changed") as changed:
        found = run(changed, backbone, features, **settings)
        # their labels too, with the split kept as it was
        items = list(changed.items)
        for row in splits.measured:
            items[row] = dataclasses.replace(items[row], label=(items[row].label + 1) % 4)
        relabelled_too = dataclasses.replace(changed, items=tuple(items))
        monkeypatch.setattr(Splits, "of", lambda *_: splits)
        last = run(relabelled_too, backbone, features, **settings)
    for result in (found, last):
        assert torch.equal(result.model.context, expected.model.context)
        assert same_blend(result, expected)
        for key in ("served", "why", "blend", "history"):
            assert result.metrics[key] == expected.metrics[key]
        assert result.metrics["tuned"] != expected.metrics["tuned"], "but they are measured on"


def test_finds_planted_wrong_labels(
    dataset: Dataset, backbone: Backbone, features: Path, tmp_path: Path
) -> None:
    flips = flip_labels(dataset.labels("train"), len(CLASSES), 0.25, seed=3)
    noisy = relabelled(dataset, list(map(int, flips.labels)), tmp_path / "noisy")
    truth = [dataset.classes[item.label] for item in dataset.items]
    with load_dataset(noisy) as opened:
        result = run(opened, backbone, features, batch_size=32, precision="float32")

    audit = result.audit
    assert audit.can_tell
    scores = [entry.score for entry in audit.entries]
    assert scores == sorted(scores, reverse=True)
    truths = [truth[int(Path(entry.file).stem)] for entry in audit.entries]
    wrong = np.array([e.given != t for e, t in zip(audit.entries, truths, strict=True)])
    planted = wrong.sum()
    assert planted == TRAIN
    # By chance: an area of a half, and a quarter of any files wrong.
    after = np.array([(~wrong[rank:]).sum() for rank in range(len(wrong))])
    assert after[wrong].sum() / (planted * (~wrong).sum()) >= 0.85
    assert wrong[:planted].sum() >= 6
    suspect = np.array([entry.suspect for entry in audit.entries])
    assert wrong[suspect].sum() >= planted / 3
    assert wrong[suspect].mean() >= 0.8
    rate = audit.noise_rate
    assert rate is not None
    assert rate.low <= planted / len(wrong) <= rate.high
    suggested = np.array([e.suggested == t for e, t in zip(audit.entries, truths, strict=True)])
    assert suggested[wrong & suspect].mean() >= 0.7
    metrics = result.metrics
    assert metrics["tuned"]["accuracy"] > metrics["zero_shot"]["accuracy"] + 0.2


def test_cannot_tell_where_labels_are_random(
    dataset: Dataset, backbone: Backbone, features: Path, tmp_path: Path
) -> None:
    # Every true class gets every label equally often: the labels say nothing of the image.
    labels = [row % len(CLASSES) for row in range(TRAIN * len(CLASSES))]
    with load_dataset(relabelled(dataset, labels, tmp_path / "random")) as noise:
        audit = run(noise, backbone, features, epochs=2).audit
    assert not audit.can_tell
    assert audit.suspects == ()
    assert "no better than chance" in audit.why
    assert len(audit.entries) == TRAIN * len(CLASSES)
