from __future__ import annotations

from pathlib import Path

import pytest

from dspt.backbones import Weights
from worker import loaded as module
from worker.loaded import loaded


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Backbones `first` and `second`, each in a folder; what is loaded is a list of their texts."""
    found = {}
    for name in ("first", "second"):
        file = tmp_path / name / "weights"
        file.parent.mkdir()
        file.write_text(name)
        (file.parent / "config").write_text("1")
        found[name] = file

    def load(name: str, *, device: object) -> list[str]:
        return [each.read_text() for each in sorted(found[name].parent.iterdir())]

    monkeypatch.setattr(module, "_kept", {})
    monkeypatch.setattr(module, "find_weights", lambda name: Weights(name, found[name]))
    monkeypatch.setattr(module, "load_backbone", load)
    return found


@pytest.mark.usefixtures("files")
def test_the_backbone_of_the_last_job_is_kept() -> None:
    first = loaded("first", "cpu")
    assert loaded("first", "cpu") is first
    second = loaded("second", "cpu")
    assert second != first
    assert list(module._kept.values()) == [second]
    assert loaded("first", "cpu") is not first


@pytest.mark.parametrize("name", ["weights", "config"])
def test_a_changed_file_is_read_again(files: dict[str, Path], name: str) -> None:
    before = loaded("first", "cpu")
    (files["first"].parent / name).write_text("trained on")
    after = loaded("first", "cpu")
    assert before != after
    assert "trained on" in after


def test_a_built_in_backbone_has_no_files_that_change() -> None:
    assert Weights("builtin").stamp() == ()


def test_weights_that_are_not_here_have_no_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dspt.backbones.hub._cached", lambda *_: None)
    weights = Weights("far", repo="owner/model", filenames=("weights",))
    assert weights.stamp() == ()
    (tmp_path / "weights").write_text("here")
    monkeypatch.setattr("dspt.backbones.hub._cached", lambda *_: ("weights", tmp_path / "weights"))
    assert [name for name, *_ in weights.stamp()] == ["weights"]
