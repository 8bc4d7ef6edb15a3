from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.noise_robustness.given_labels import GivenLabels
from dspt.errors import DatasetError

CLASSES = ("red_fox", "tree-frog")
TABLE = """file,label,worse
train/red_fox/1.png,red_fox,Tree Frog
tree-frog/2.png,tree-frog,red fox
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "human.csv"
    path.write_text(text)
    return path


def test_each_column_gives_its_own_labels(tmp_path: Path) -> None:
    labels = GivenLabels.read(write(tmp_path, "\ufeff" + TABLE), ["label", "worse"])
    files = ["train/red_fox/1.png", "train/tree-frog/2.png"]
    assert labels.of(files, "label", CLASSES).tolist() == [0, 1]
    assert labels.of(files, "worse", CLASSES).tolist() == [1, 0]
    assert labels.of(files[::-1], "worse", CLASSES).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\n", "has no column file, worse; it has name, label"),
        ("file,worse\n,red_fox\n", "line 2: the column file is empty"),
        ("file,worse\na.png,red_fox\na.png,red_fox\n", "line 3: 'a.png' has two rows"),
        ('file,worse\n"a.png,red_fox\n', "cannot be read"),
    ],
)
def test_tables_at_fault_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=f"human.csv: {message}"):
        GivenLabels.read(write(tmp_path, text), ["worse"])
    with pytest.raises(DatasetError, match="cannot be read"):
        GivenLabels.read(tmp_path / "nothing.csv", ["worse"])


def test_files_without_a_label_and_unknown_classes_are_named(tmp_path: Path) -> None:
    labels = GivenLabels.read(write(tmp_path, "file,worse\na.png,wolf\n"), ["worse"])
    with pytest.raises(DatasetError, match=r"no row for 'train/b\.png'"):
        labels.of(["train/b.png"], "worse", CLASSES)
    message = r"worse of 'train/a\.png' is 'wolf', not one of the classes red_fox"
    with pytest.raises(DatasetError, match=message):
        labels.of(["train/a.png"], "worse", CLASSES)
