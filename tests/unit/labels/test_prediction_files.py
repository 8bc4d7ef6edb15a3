"""Labels and predictions from .npy and CSV files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dspt.errors import ConfigError, DatasetError
from dspt.labels.prediction_files import read_predictions


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("file,label\nb.jpg,dog\na.jpg,Cat\n")
    return path


@pytest.fixture
def probabilities(tmp_path: Path) -> Path:
    path = tmp_path / "predicted.csv"
    path.write_text("file,Cat,dog\na.jpg,0.75,0.25\nb.jpg,0.5,0.5\n")
    return path


def test_tables_are_matched_by_file(labels: Path, probabilities: Path) -> None:
    found = read_predictions(labels, probabilities)
    assert found.files == ["a.jpg", "b.jpg"]
    assert found.classes == ["Cat", "dog"]
    assert found.labels.tolist() == ["Cat", "dog"]
    assert found.probabilities.tolist() == [[0.75, 0.25], [0.5, 0.5]]


def test_tables_without_files_are_in_the_same_order(tmp_path: Path, labels: Path) -> None:
    matrix = tmp_path / "p.csv"
    matrix.write_text("dog;Cat\n0.75;0.25\n0.5;0.5\n")
    found = read_predictions(labels, matrix)
    assert found.files == ["b.jpg", "a.jpg"]
    assert found.labels.tolist() == ["dog", "Cat"]
    assert found.classes == ["dog", "Cat"]


def test_arrays_are_columns(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.array([1, 0]))
    np.save(tmp_path / "p.npy", np.eye(2))
    found = read_predictions(tmp_path / "y.npy", tmp_path / "p.npy")
    assert (found.labels.tolist(), found.files, found.classes) == ([1, 0], None, None)
    (tmp_path / "y.csv").write_text("label\n1\n0\n")
    found = read_predictions(tmp_path / "y.csv", tmp_path / "p.npy")
    assert found.labels.tolist() == [1, 0]


def test_files_that_do_not_match_are_named(labels: Path, probabilities: Path) -> None:
    labels.write_text("file,label\na.jpg,Cat\na.jpg,dog\nc.jpg,dog\n")
    with pytest.raises(DatasetError) as caught:
        read_predictions(labels, probabilities)
    assert [(problem.where, problem.message) for problem in caught.value.problems] == [
        ("labels.csv", "'a.jpg' has two rows"),
        ("labels.csv", "no row for 'b.jpg'"),
        ("predicted.csv", "no row for 'c.jpg'"),
    ]


def test_what_is_no_number_is_named_by_line(labels: Path, probabilities: Path) -> None:
    probabilities.write_text("file,Cat,dog\na.jpg,0.75,low\nb.jpg,0.5\n")
    with pytest.raises(DatasetError, match=r"predicted.csv line 2: .*'low' \(and 1 more\)"):
        read_predictions(labels, probabilities)
    labels.write_text("file,class\na.jpg,Cat\n")
    with pytest.raises(DatasetError, match="must have the columns label; found 'file, class'"):
        read_predictions(labels, probabilities)


def test_pickles_and_other_files_are_refused(tmp_path: Path, labels: Path) -> None:
    np.save(tmp_path / "p.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError, match=r"p.npy: not a .npy file with an array"):
        read_predictions(labels, tmp_path / "p.npy")
    (tmp_path / "q.npy").write_text("0.5,0.5")
    with pytest.raises(ConfigError, match=r"q.npy: not a .npy file with an array"):
        read_predictions(labels, tmp_path / "q.npy")
