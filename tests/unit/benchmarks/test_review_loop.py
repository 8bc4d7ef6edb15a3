"""`python -m benchmarks.review_loop`: the simulated person, and one run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.review_loop.__main__ import BENCHMARK
from benchmarks.review_loop.run import reviewed
from benchmarks.skeleton.data_sets import find_sets
from benchmarks.skeleton.program import run
from benchmarks.skeleton.sweep import Planted, plant
from dspt.data import Dataset, load_dataset
from tests.photographs import write_photographs

CLASSES = ("cat", "coffee", "moon")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets") / "photos"
    return write_photographs(root, CLASSES, train=6, test=3, seed=4)


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Iterator[Dataset]:
    with load_dataset(folder) as opened:
        yield opened


def labels(dataset: Dataset) -> dict[str, str]:
    return {item.path: dataset.classes[item.label] for item in dataset.of_split("train")}


def planted(dataset: Dataset, seed: int = 2) -> Planted:
    return plant(dataset, 4, 0.25, "symmetric", "global", seed)


def test_wrong_labels_are_injected_into_the_shots_only(dataset: Dataset) -> None:
    found = planted(dataset)
    assert labels(found.dataset) == found.labels
    assert len(found.labels) == 3 * 4
    assert found.true_labels == {file: file.split("/")[1] for file in found.labels}
    assert len(found.wrong) == 3
    assert found.dataset.of_split("test") == dataset.of_split("test")
    assert planted(dataset).labels == found.labels
    assert planted(dataset, seed=3).labels != found.labels


def test_only_reviewed_wrong_labels_are_corrected(dataset: Dataset) -> None:
    found = planted(dataset)
    first = min(found.wrong)
    right = next(file for file in found.labels if file not in found.wrong)
    expected = {**found.labels, first: found.true_labels[first]}
    assert labels(reviewed(found, [first, right])) == expected
    assert labels(reviewed(found, list(found.labels))) == found.true_labels
    assert reviewed(found, [right]).sha256 == found.dataset.sha256


@pytest.mark.usefixtures("small_tower")
def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", str(folder), "--seeds", "1", "--shots", "4", "--shares", "0.5"]
    arguments += ["--config", '{"epochs": 2}', "--features", str(tmp_path / "features")]
    arguments += ["--out", str(tmp_path / "out")]
    assert run(BENCHMARK, arguments) == 0
    assert "What reviewing labels is worth" in capsys.readouterr().out

    out = tmp_path / "out"
    document = json.loads((out / "review_loop.json").read_text())
    (record,) = document["datasets"][folder.name]
    assert (record["images"], record["test_images"], record["wrong"]) == (12, 9, 3)
    points = {(p["order"], p["share"]): p for p in record["points"]}
    assert set(points) == {(o, s) for o in ("audit", "random") for s in (0.0, 0.5)}
    for order in ("audit", "random"):
        assert points[order, 0.0]["accuracy"] == points["audit", 0.0]["accuracy"]
        assert points[order, 0.0]["wrong_left"] == 3
        assert points[order, 0.5]["reviewed"] == 6
        assert points[order, 0.5]["wrong_left"] == 3 - points[order, 0.5]["wrong_found"]
    text = (out / "review_loop.md").read_text()
    assert "| 6 (50%) |" in text
    assert document["command"] in text
    assert "±" not in text  # one seed has no standard deviation

    # Once more: nothing is measured again.
    (tmp_path / "features" / "features.sqlite").unlink()
    assert run(BENCHMARK, arguments) == 0
    again = json.loads((out / "review_loop.json").read_text())
    assert again["datasets"] == document["datasets"]
    assert not list((tmp_path / "features").glob("features.sqlite"))


@pytest.mark.usefixtures("small_tower")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "{folder}", "--config", '{"epoch": 1}'], "did you mean epochs?"),
        (["--data", "nowhere"], "nowhere: no such file or folder"),
        (["--data", "{folder}/train"], "has no test/"),
        (["--data", "{folder}", "{folder}"], "two data sets are named"),
    ],
)
def test_invalid_settings_and_data_are_refused(
    arguments: list[str],
    message: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    filled = [argument.replace("{folder}", str(folder)) for argument in arguments]
    assert run(BENCHMARK, [*filled, "--out", str(tmp_path)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_folder_of_data_sets_is_all_of_them(folder: Path) -> None:
    assert find_sets([folder.parent]) == {folder.name: folder}
