"""DSPTClassifier: scikit-learn's contract, on features and on images.

scikit-learn takes a second to import, so the tests that need it do it.
"""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

import dspt
from dspt.backbones.base import Backbone
from dspt.errors import ConfigError, ImageError
from dspt.model.predict import ImageClassifier
from dspt.prompt.learner import zero_shot_embeddings

WORDS = ["dog", "fire truck", "owl"]


@pytest.fixture(autouse=True)
def backbone(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """Every name loads the same small backbone."""
    monkeypatch.setattr("dspt.estimator._backbone", lambda name, device: tiny)
    return tiny


def classifier(**settings: Any) -> dspt.DSPTClassifier:
    return dspt.DSPTClassifier(**{"epochs": 3, "device": "cpu", **settings})


@pytest.fixture
def data(tiny: Backbone) -> tuple[NDArray[np.float32], NDArray[Any], list[int]]:
    """45 features around the class embeddings, labels of which three are wrong, and these."""
    generator = torch.Generator().manual_seed(3)
    centres = zero_shot_embeddings(tiny, WORDS)
    truth = torch.arange(45) % 3
    apart = centres - centres.mean(0)
    noise = torch.randn(45, centres.shape[1], generator=generator) / centres.shape[1] ** 0.5
    features = centres.mean(0) + apart[truth] + 0.3 * apart.norm(dim=1).mean() * noise
    wrong = [4, 17, 30]
    labels = np.array(WORDS)[truth.numpy()]
    labels[wrong] = np.array(WORDS)[(truth.numpy()[wrong] + 1) % 3]
    return features.numpy(), labels, wrong


def test_fits_features_and_finds_the_wrong_labels(
    data: tuple[NDArray[np.float32], NDArray[Any], list[int]],
) -> None:
    features, labels, wrong = data
    model = classifier().fit(features, labels)
    assert model.classes_.tolist() == sorted(WORDS)
    assert {int(entry.file) for entry in model.audit_.entries[:3]} == set(wrong)
    assert {suspect.index for suspect in model.suspects_} <= set(wrong)
    assert len(model.suspects_) >= 2
    for suspect in model.suspects_:
        assert suspect.given == labels[suspect.index]
        assert suspect.suggested == WORDS[suspect.index % 3]
        assert suspect.probability > 0.5
    assert model.noise_rate_ is not None
    assert model.noise_rate_.low <= 3 / 45 <= model.noise_rate_.high
    probabilities = model.predict_proba(features)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert (model.predict(features) == model.classes_[probabilities.argmax(1)]).all()
    assert 0.9 < model.score(features, labels) < 1


def test_the_length_of_features_does_not_matter(
    data: tuple[NDArray[np.float32], NDArray[Any], list[int]],
) -> None:
    features, labels, _ = data
    one = classifier().fit(features, labels)
    other = classifier().fit(7 * features, labels)
    np.testing.assert_allclose(
        one.predict_proba(features), other.predict_proba(features), atol=1e-4
    )


def test_a_row_without_a_direction_is_refused_not_classified(
    data: tuple[NDArray[np.float32], NDArray[Any], list[int]], tiny: Backbone
) -> None:
    from dspt.estimator import _check_lengths

    features, labels, _ = data
    model = classifier().fit(features, labels)
    holes = features.copy()
    holes[[7, 9]] = 0
    for call in (lambda: classifier().fit(holes, labels), lambda: model.predict_proba(holes)):
        with pytest.raises(ValueError, match=r"embedding of row 7 of X is 0 .* \(2 of 45 rows\)"):
            call()
    wide = dataclasses.replace(tiny, penultimate_dim=2)
    both = torch.ones(3, wide.feature_dim)
    _check_lengths(both, wide.embed_dim)
    both[1, wide.embed_dim :] = 0
    with pytest.raises(ValueError, match=r"penultimate part of row 1 of X is 0"):
        _check_lengths(both, wide.embed_dim)


def test_features_may_be_read_only(
    data: tuple[NDArray[np.float32], NDArray[Any], list[int]],
) -> None:
    """As tables of pandas are, and what joblib hands to its processes."""
    features, labels, _ = data
    expected = classifier(tuning="none").fit(features, labels).predict_proba(features)
    features.setflags(write=False)
    found = classifier(tuning="none").fit(features, labels, unlabelled=[]).predict_proba(features)
    np.testing.assert_array_equal(found, expected)
    assert not features.flags.writeable


def test_cross_validation_and_clone(
    data: tuple[NDArray[np.float32], NDArray[Any], list[int]],
) -> None:
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_score

    features, labels, _ = data
    model = classifier(loss="ce", random_state=4)
    assert clone(model).get_params() == model.get_params()
    assert cross_val_score(model, features, labels, cv=3).mean() > 0.8


@pytest.mark.parametrize("form", ["mapping", "sequence"])
def test_class_names_are_the_words_of_the_prompt(
    data: tuple[NDArray[np.float32], NDArray[Any], list[int]], form: str
) -> None:
    features, labels, _ = data
    codes = np.array([WORDS.index(label) for label in labels])
    names: Any = dict(enumerate(WORDS)) if form == "mapping" else WORDS
    model = classifier().fit(features, codes, class_names=names)
    assert model.model_.manifest.class_words == WORDS
    assert model.predict(features[:1]).dtype == codes.dtype
    with pytest.raises(ValueError, match="class_names has"):
        classifier().fit(features, codes, class_names=["one"])
    with pytest.raises(ValueError, match="'emu', which is not a label in y"):
        classifier().fit(features, codes, class_names={"emu": "large bird"})


@pytest.mark.parametrize(
    ("settings", "integers"),
    [({}, False), ({"classifier": "prompt"}, True), ({"tuning": "none"}, True)],
)
def test_a_saved_classifier_predicts_the_same(
    data: tuple[NDArray[np.float32], NDArray[Any], list[int]],
    tmp_path: Path,
    tiny: Backbone,
    settings: dict[str, str],
    integers: bool,
) -> None:
    features, labels, _ = data
    if integers:
        labels = np.array([WORDS.index(label) for label in labels])
    model = classifier(**settings).fit(features, labels)
    model.save(tmp_path / "model.safetensors")
    back = dspt.DSPTClassifier.load(tmp_path / "model.safetensors", device="cpu")
    np.testing.assert_array_equal(back.predict(features), model.predict(features))
    np.testing.assert_allclose(
        back.predict_proba(features), model.predict_proba(features), atol=1e-5
    )
    assert back.get_params() | {"n_ctx": None, "lr": None} == model.get_params()
    images = ImageClassifier.load(tmp_path / "model.safetensors", backbone=tiny)
    scores = images.scores(F.normalize(torch.from_numpy(features), dim=1))
    np.testing.assert_allclose(scores.numpy(), model.predict_proba(features), atol=1e-5)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(features), model.predict_proba(features))


def photos(count: int) -> tuple[list[Image.Image], list[str]]:
    colours = {"red": (200, 30, 30), "blue": (30, 30, 200)}
    names = [list(colours)[i % 2] for i in range(count)]
    random = np.random.default_rng(1)
    arrays = [
        np.clip(random.normal(colours[name], 30, (40, 40, 3)), 0, 255).astype(np.uint8)
        for name in names
    ]
    return [Image.fromarray(array) for array in arrays], names


def test_images_and_paths_give_the_same(tmp_path: Path) -> None:
    images, labels = photos(12)
    paths = []
    for i, image in enumerate(images):
        paths.append(tmp_path / f"{i}.png")
        image.save(paths[-1])
    by_image, by_path = classifier().fit(images, labels), classifier().fit(paths, labels)
    np.testing.assert_array_equal(by_image.predict_proba(images), by_path.predict_proba(paths))
    assert by_image.predict(images[:2]).tolist() == labels[:2]
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"bad\.png"):
        by_path.predict([tmp_path / "bad.png"])
    with pytest.raises(ImageError, match=r"gone\.png: cannot be read: No such file"):
        by_path.predict([str(tmp_path / "gone.png")])
    with pytest.raises(ValueError, match="X is a single image; pass a list"):
        by_path.predict(paths[0])


def test_features_may_include_penultimate_ones(
    data: tuple[NDArray[np.float32], NDArray[Any], list[int]],
    tiny: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    wide = dataclasses.replace(tiny, penultimate_dim=8)
    monkeypatch.setattr("dspt.estimator._backbone", lambda name, device: wide)
    embeddings, labels, _ = data
    generator = np.random.default_rng(1)
    features = np.hstack([embeddings, generator.normal(size=(45, 8)).astype(np.float32)])
    model = classifier().fit(features, labels)
    assert model.predict_proba(features).shape == (45, 3)
    model.save(tmp_path / "wide.safetensors")
    back = dspt.DSPTClassifier.load(tmp_path / "wide.safetensors", device="cpu")
    with pytest.raises(
        ValueError, match=r"X has 16 columns, but this classifier was fitted to .* 24"
    ):
        back.predict(embeddings)
    with pytest.raises(ValueError, match=r"X has 20 columns.* have 16 or 24"):
        classifier().fit(features[:, :20], labels)
    narrow = classifier().fit(embeddings, labels)
    narrow.save(tmp_path / "narrow.safetensors")
    back = dspt.DSPTClassifier.load(tmp_path / "narrow.safetensors", device="cpu")
    np.testing.assert_array_equal(back.predict_proba(features), back.predict_proba(embeddings))


def test_wrong_input_says_how_to_fix_it(
    data: tuple[NDArray[np.float32], NDArray[Any], list[int]], tiny: Backbone
) -> None:
    features, labels, _ = data
    width = tiny.embed_dim
    with pytest.raises(ValueError, match=rf"X has 3 columns.* of the backbone .* have {width}"):
        classifier().fit(features[:, :3], labels)
    with pytest.raises(ValueError, match="X has 45 images and y has 44 labels"):
        classifier().fit(features, labels[:-1])
    for missing in (None, float("nan")):
        some = np.array([missing, *["cat", "dog"] * 22], dtype=object)
        with pytest.raises(ValueError, match=r"no label in row 0 \(1 of 45 rows\)"):
            classifier().fit(features, some)
    with pytest.raises(ValueError, match="inconsistent"):
        classifier().fit(features, labels, groups=[1, 2])
    with pytest.raises(ValueError, match="at least two classes"):
        classifier().fit(features, ["cat"] * 45)
    with pytest.raises(ConfigError, match="epochs is 0"):
        classifier(epochs=0).fit(features, labels)
    with pytest.raises(ConfigError, match="random_state must be an integer"):
        classifier(random_state=None).fit(features, labels)


def test_photos_without_labels_move_the_class_means(tiny: Backbone) -> None:
    generator = torch.Generator().manual_seed(1)
    truth, dim = np.arange(300) % 3, zero_shot_embeddings(tiny, WORDS).shape[1]
    centres = F.normalize(torch.randn(3, dim, generator=generator), dim=1)
    noise = torch.randn(300, dim, generator=generator) / dim**0.5
    features, labels = (centres[truth] + 1.5 * noise).numpy(), np.array(WORDS)[truth]
    few, more = slice(24), slice(24, None)

    plain = classifier(tuning="none").fit(features[few], labels[few])
    given = np.concatenate([features[more], features[:40]])
    found = classifier(tuning="none").fit(features[few], labels[few], unlabelled=given)
    assert "unlabelled" not in plain.model_.manifest.metrics
    report = {"photos": 276, "used": 276, "accuracy_without": None}
    assert found.model_.manifest.metrics["unlabelled"] == report
    assert found.score(features[more], labels[more]) > plain.score(features[more], labels[more])
    assert found.audit_ == plain.audit_
    with pytest.raises(ValueError, match="expecting"):
        classifier().fit(features[few], labels[few], unlabelled=features[:, :3])
    with pytest.raises(ValueError, match="of the same kind"):
        classifier().fit(features[few], labels[few], unlabelled=[Image.new("RGB", (64, 64))])


def test_audit_of_features_and_of_nothing(
    data: tuple[NDArray[np.float32], NDArray[Any], list[int]],
) -> None:
    from dspt.estimator import audit

    features, labels, wrong = data
    report = audit(features, labels, epochs=3, device="cpu")
    assert {int(entry.file) for entry in report.entries[:3]} == set(wrong)
    assert repr(report).startswith(f"<AuditReport: 45 labels, {len(report.suspects)} suspect")
    with pytest.raises(ValueError, match="labels are missing"):
        audit(features)


@pytest.mark.filterwarnings("ignore")
def test_keeps_the_contract_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    from any_width import AnyWidth
    from sklearn.utils.estimator_checks import check_estimator

    # The contract says nothing of how good the fit is, and the checks fit it 60 times.
    monkeypatch.setattr("dspt.labels.noise_rate._RESAMPLES", 2)
    monkeypatch.setattr("dspt.labels.noise_model._ROUNDS", 1)
    monkeypatch.setattr("dspt.classifier.ensemble._ROUNDS", 1)
    found = check_estimator(AnyWidth(tuning="none", device="cpu"), on_fail=None)
    failed = {
        check["check_name"]: str(check["exception"])
        for check in found
        if check["status"] == "failed"
    }
    assert failed == {}
