"""`python -m benchmarks.add_class`: held-out classes, scores, and one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.add_class.__main__ import BENCHMARK
from benchmarks.add_class.report import LABELS
from benchmarks.add_class.run import score, without
from benchmarks.skeleton.program import run
from dspt.classifier.linear import LinearClassifier
from dspt.data import load_dataset
from tests.photographs import write_photographs

CLASSES = ("cat", "coffee", "moon")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("data"), CLASSES, train=4, test=2, seed=4)


def test_without_a_class_the_other_classes_keep_their_images(folder: Path) -> None:
    with load_dataset(folder) as dataset:
        found = without(dataset, "coffee")
    assert (found.classes, found.class_words) == (("cat", "moon"), ("cat", "moon"))
    assert len(found.items) == len(found.hashes) == 2 * (4 + 2)
    for item, sha256 in zip(found.items, found.hashes, strict=True):
        assert found.classes[item.label] == item.path.split("/")[1]
        assert sha256 == dataset.hashes[[i.path for i in dataset.items].index(item.path)]
    assert found.sha256 != dataset.sha256


def test_old_and_new_classes_are_scored_separately() -> None:
    classifier = LinearClassifier(torch.eye(3), torch.zeros(3))
    features = torch.eye(3)[[0, 0, 1, 2, 2]]
    found = score(classifier, features, ["a", "b", "new"], ["a", "b", "b", "new", "a"], "new")
    assert found == {"old": 0.5, "new": 1.0, "harmonic": pytest.approx(2 / 3)}
    wrong = score(classifier, features, ["a", "b", "new"], ["a", "b", "b", "new", "new"], "b")
    assert wrong["new"] == 0.5
    nothing = score(classifier, torch.eye(3)[[0, 1]], ["a", "b", "new"], ["a", "new"], "new")
    assert nothing == {"old": 1.0, "new": 0.0, "harmonic": 0.0}


@pytest.mark.usefixtures("small_tower")
def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", str(folder), "--seeds", "1", "--shots", "4", "--rates", "0.25"]
    arguments += ["--held-out", "1", "--config", '{"epochs": 2}', "--out", str(tmp_path)]
    arguments += ["--features", str(tmp_path / "features")]
    assert run(BENCHMARK, arguments) == 0
    assert "A class added by its name" in capsys.readouterr().out
    document = json.loads((tmp_path / "add_class.json").read_text())
    (record,) = document["datasets"][folder.name]
    (case,) = record["held_out"]
    assert case["class"] in CLASSES
    assert case["before"]["new"] == 0
    for way in ("before", *LABELS):
        assert 0 <= case[way]["old"] <= 1
    text = (tmp_path / "add_class.md").read_text()
    assert f"| 25% | {100 * case['before']['old']:.1f} | " in text
    assert document["command"] in text

    # Once more: nothing is measured again.
    (tmp_path / "features" / "features.sqlite").unlink()
    assert run(BENCHMARK, arguments) == 0
    assert not list((tmp_path / "features").glob("features.sqlite"))
