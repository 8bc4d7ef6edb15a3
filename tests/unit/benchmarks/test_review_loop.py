"""The benchmark of the review loop: what the simulated person does, and the command as a whole."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.review_loop import cli
from benchmarks.review_loop.measure import Settings, most_tunings, plant, reviewed
from benchmarks.review_loop.summary import Spread, curve
from dspt.config import TuneConfig
from dspt.data import Dataset, load_dataset
from tests.photographs import write_photographs

CLASSES = ("cat", "coffee", "moon")
SETTINGS = Settings(
    shots=4,
    rate=0.25,
    kind="symmetric",
    protocol="global",
    shares=(0.0, 0.5),
    config=TuneConfig(),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("data"), CLASSES, train=6, test=3, seed=4)


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Iterator[Dataset]:
    with load_dataset(folder) as opened:
        yield opened


def labels(dataset: Dataset) -> dict[str, str]:
    return {item.path: dataset.classes[item.label] for item in dataset.of_split("train")}


def test_wrong_labels_are_planted_among_the_shots_alone(dataset: Dataset) -> None:
    planted = plant(dataset, SETTINGS, seed=2)
    assert labels(planted.dataset) == planted.given
    assert len(planted.given) == 3 * 4
    assert planted.truth == {file: file.split("/")[1] for file in planted.given}
    assert len(planted.wrong) == 3
    assert planted.dataset.of_split("test") == dataset.of_split("test")
    assert plant(dataset, SETTINGS, seed=2).given == planted.given
    assert plant(dataset, SETTINGS, seed=3).given != planted.given


def test_a_person_puts_right_what_is_looked_at_and_nothing_else(dataset: Dataset) -> None:
    planted = plant(dataset, SETTINGS, seed=2)
    first, *others = sorted(planted.wrong)
    right = next(file for file in planted.given if file not in planted.wrong)
    assert labels(reviewed(planted, [first, right])) == {
        **planted.given,
        first: planted.truth[first],
    }
    assert labels(reviewed(planted, list(planted.given))) == planted.truth
    assert reviewed(planted, [right]).sha256 == planted.dataset.sha256
    assert others


def test_points_for_ten_labels() -> None:
    def record(*accuracies: float) -> dict[str, object]:
        return {
            "points": [
                {
                    "order": "audit",
                    "share": share,
                    "reviewed": int(40 * share),
                    "wrong_left": 5,
                    "accuracy": accuracy,
                }
                for share, accuracy in zip((0.0, 0.5), accuracies, strict=True)
            ]
        }

    start, half = curve([record(0.5, 0.6), record(0.5, 0.58)], "audit")
    assert start.gained_per_ten is None
    assert (start.accuracy.mean, half.reviewed) == (50, 20)
    assert half.gained_per_ten is not None
    assert half.gained_per_ten.mean == pytest.approx((5 + 4) / 2)
    assert half.gained_per_ten.shown("+.2f") == "+4.50 ± 0.71"
    assert Spread.of([3.0]).shown() == "3.0"


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", str(folder), "--seeds", "1", "--shots", "4", "--shares", "0.5"]
    arguments += ["--config", '{"epochs": 2}', "--features", str(tmp_path / "features")]
    arguments += ["--out", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    told = capsys.readouterr().out
    assert "What it pays to review labels" in told

    out = tmp_path / "out"
    document = json.loads((out / "review_loop.json").read_text())
    (record,) = document["datasets"][folder.name]
    assert (record["images"], record["test_images"], record["wrong"]) == (12, 9, 3)
    assert record["images_encoded_first"] == 12 + 9
    assert record["images_encoded_later"] == 0
    points = {(p["order"], p["share"]): p for p in record["points"]}
    assert set(points) == {(o, s) for o in ("audit", "random") for s in (0.0, 0.5)}
    for order in ("audit", "random"):
        assert points[order, 0.0]["accuracy"] == points["audit", 0.0]["accuracy"]
        assert points[order, 0.0]["wrong_left"] == 3
        assert points[order, 0.5]["reviewed"] == 6
        assert points[order, 0.5]["wrong_left"] == 3 - points[order, 0.5]["wrong_found"]
    assert str(folder.parent) not in (out / "review_loop.json").read_text()
    text = (out / "review_loop.md").read_text()
    assert "| 6 (50%) |" in text
    assert "python -m benchmarks.review_loop --data" in text
    with Image.open(io.BytesIO((out / "review_loop.png").read_bytes())) as image:
        assert image.size[0] > 200
    assert (out / "review_loop.svg").read_text().startswith("<?xml")

    # Once more: nothing is measured again, and everything is the same.
    before = (out / "review_loop.json").read_bytes()
    (tmp_path / "features" / "features.sqlite").unlink()
    assert cli.main(arguments) == 0
    assert (out / "review_loop.json").read_bytes() == before
    assert not list((tmp_path / "features").glob("features.sqlite"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--data", "nowhere"], "--data nowhere: has no train/ and test/ in it"),
        (["--data", "nowhere", "--config", "{"], "--config: "),
        (["--data", "nowhere", "--config", '{"epoch": 1}'], "did you mean epochs?"),
        (["--data", "nowhere", "--rate", "2"], "2 is no share between 0 and 1"),
        ([], "--data"),
    ],
)
def test_wrong_options_are_named(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    assert told in capsys.readouterr().err


def test_what_one_record_takes() -> None:
    assert most_tunings(SETTINGS) == 4
