"""Health reports: what reading found, by kind, with files and a fix."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dataset_files import encoded, jpeg, two_classes, write_folder
from PIL import Image

from dspt.data import load_dataset
from dspt.errors import DatasetError
from dspt.report import finding
from dspt.report.copies import CopyReport
from dspt.report.health import HealthReport

BLACK = encoded(Image.new("RGB", (40, 40), (3, 3, 3)))


def health_of(folder: Path) -> HealthReport:
    """Only equal files are copies."""
    with load_dataset(folder) as data:
        _, groups = np.unique(data.hashes, return_inverse=True)
        return HealthReport.of(data, groups, CopyReport.of(data, groups).findings())


def test_every_finding_has_its_files_and_a_fix(tmp_path: Path) -> None:
    files = two_classes(3) | {
        "cat/broken.jpg": b"\xff\xd8\xff",
        "cat/black.png": BLACK,
        "dog/again.jpg": jpeg(0),
        "README.txt": b"",
        "loose.jpg": jpeg(9),
    }
    report = health_of(write_folder(tmp_path, files))
    found = {each.kind: each for each in report.findings}
    assert {kind: [file.file for file in each.files] for kind, each in found.items()} == {
        "unreadable": ["cat/broken.jpg"],
        "left_out": ["loose.jpg"],
        "other_files": ["README.txt"],
        "of a single colour": ["cat/black.png"],
        "copies_across_classes": ["cat/0.jpg", "dog/again.jpg"],
    }
    assert all(each.fix and each.text and each.count == len(each.files) for each in found.values())
    assert found["copies_across_classes"].files[1].note == "same photo as cat/0.jpg"
    assert found["unreadable"].files[0].note
    # the most serious first
    assert [each.severity for each in report.findings] == ["warning"] * 4 + ["info"]
    assert (report.images, report.photos, report.left_out) == (8, 7, 3)
    assert report.summary == (
        "8 images of 2 classes, 7 different photos, 3 files left out: 0 errors, 4 warnings, 1 note."
    )
    cat, dog = report.classes
    assert (cat.train, cat.photos, dog.train, dog.photos) == (4, 4, 4, 4)
    json.dumps(report.to_dict())


def test_what_was_assumed_is_a_note(tmp_path: Path) -> None:
    files = {f"Training/{name}": data for name, data in two_classes(2).items()}
    files |= {"Holdout/cat/7.jpg": jpeg(7), "Holdout/dog/8.jpg": jpeg(8)}
    report = health_of(write_folder(tmp_path, files))
    (layout,) = [each for each in report.findings if each.kind == "layout"]
    assert layout.severity == "info"
    assert "Holdout/ as test" in layout.text
    assert "train/class/photo.jpg" in layout.fix
    assert report.split["test"] == 2


def test_texts_are_those_of_the_warnings(tmp_path: Path) -> None:
    """A model card drops the warnings that its health section has."""
    files = two_classes(2) | {f"dark{n}/to sort/{n}.png": BLACK for n in range(5)}
    files |= {f"to sort/{n}.jpg": jpeg(50 + n) for n in range(3)}
    with load_dataset(write_folder(tmp_path, files)) as data:
        texts = [
            each.text for each in HealthReport.of(data, np.arange(len(data.items)), []).findings
        ]
        assert data.warnings
        for warning in data.warnings:
            assert any(warning in text for text in texts)


def test_files_are_listed_up_to_a_hundred(tmp_path: Path) -> None:
    files = two_classes(2) | {f"cat/x{n}.jpg": b"" for n in range(130)}
    (found,) = health_of(write_folder(tmp_path, files)).findings
    assert (found.kind, found.count, len(found.files)) == ("unreadable", 130, 100)


def test_a_refused_data_set_is_not_usable(tmp_path: Path) -> None:
    files = {"cat/1.jpg": jpeg(1), "cat/2.jpg": jpeg(2)}
    with pytest.raises(DatasetError) as caught:
        load_dataset(write_folder(tmp_path, files))
    report = HealthReport.refused(caught.value)
    assert not report.usable
    (found,) = report.findings
    assert (found.kind, found.severity) == ("one_class", "error")
    assert "only class" in found.text
    assert report.summary == "A job refuses this data set: 1 error, 0 warnings, 0 notes."


def test_every_kind_has_a_severity_a_title_and_a_fix() -> None:
    for kind in finding._KINDS.values():
        assert kind.severity in ("warning", "info")
        assert kind.title == kind.title.strip()
        assert kind.fix.endswith(".")
