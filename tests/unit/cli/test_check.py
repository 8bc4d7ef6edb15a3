"""`dspt check`: text, JSON and exit codes, without a backbone."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

from dataset_files import jpeg, two_classes, write_folder
from typer.testing import CliRunner, Result

from dspt.cli import build


def check(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(build(), ["check", str(folder), "--fast", *options])


def test_text_and_json_of_the_same_folder(tmp_path: Path) -> None:
    files = two_classes(3) | {"dog/again.jpg": jpeg(0), "class_3/1.jpg": jpeg(7)}
    folder = write_folder(tmp_path, files)
    plain, listed = check(folder), check(folder, "--files")
    assert plain.exit_code == 0, plain.output
    assert "warning: the same photo in several classes (2)" in plain.stdout
    assert "Fix: Keep each photo in its right class" in plain.stdout
    assert "same photo as cat/0.jpg" not in plain.stdout
    assert "dog/again.jpg  (same photo as cat/0.jpg)" in listed.stdout
    found = json.loads(check(folder, "--json").stdout)
    assert found["usable"] is True
    kinds = {each["kind"]: each for each in found["findings"]}
    assert kinds["names"]["classes"] == ["class_3"]
    assert kinds["one_image"]["count"] == 1
    assert found["classes"][2] == {
        "name": "dog", "words": "dog", "train": 4, "val": 0, "test": 0, "photos": 4
    }  # fmt: skip


def test_names_that_look_the_same_in_another_alphabet_are_reported(tmp_path: Path) -> None:
    cyrillic = {f"c\u0430t/{i}.jpg": jpeg(10 + i) for i in range(3)}
    found = check(write_folder(tmp_path, two_classes(3) | cyrillic))
    assert found.exit_code == 0, found.output
    assert "warning: class names that look the same" in found.stdout
    assert "Fix: Merge the folders if they are one class." in found.stdout


def test_the_exit_code_is_1_where_a_job_refuses_the_data(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", {"cat/1.jpg": jpeg(1), "cat/2.jpg": jpeg(2)})
    refused = check(folder)
    assert refused.exit_code == 1
    assert "error: one class" in refused.stdout
    single = write_folder(tmp_path / "b", {"cat/1.jpg": jpeg(1), "dog/2.jpg": jpeg(2)})
    refused = check(single, "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["findings"][0]["kind"] == "nothing_to_measure_on"


def test_torch_is_imported_without_its_compiler_which_takes_seconds(tmp_path: Path) -> None:
    with patch("dspt.kit.light_torch.import_light") as light:
        assert check(write_folder(tmp_path, two_classes(3))).exit_code == 0
    light.assert_called_once_with()
