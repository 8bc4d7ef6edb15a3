"""`dspt compare` on real models and photographs."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dspt.backbones.base import Backbone
from dspt.cli import terminal
from dspt.data import load_dataset
from dspt.labels.corrections import Corrections
from dspt.model.add_class import add_classes
from dspt.model.artifact import from_artifact, save_model
from dspt.model.format import read_artifact
from dspt.pipeline import TuneResult
from tests.commands import invoke
from tests.integration.pipeline.runs import CLASSES, TEST, Recorder, run


@pytest.fixture
def models(
    tuned: tuple[TuneResult, Recorder, float],
    backbone: Backbone,
    features: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A folder with a model, the same untuned, and the same with a class more."""
    model = tuned[0].model
    save_model(model, tmp_path / "tuned")
    save_model(from_artifact(read_artifact(tmp_path / "tuned").untuned()), tmp_path / "untuned")
    save_model(add_classes(model, {"whale": None}, backbone), tmp_path / "more")
    (tmp_path / "dspt").mkdir()
    shutil.copytree(features, tmp_path / "dspt" / "features")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(terminal.out, "width", 200)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dspt(*arguments: str | Path, ends: int = 0) -> Any:
    result = invoke(arguments)
    assert result.exit_code == ends, result.output
    return result


def test_two_models_are_compared_on_the_test_part(
    models: Path, folder: Path, tuned: tuple[TuneResult, Recorder, float]
) -> None:
    found = json.loads(dspt("compare", "untuned", "tuned", folder, "--json").stdout)
    metrics = tuned[0].metrics
    assert found["models"] == {"a": "untuned", "b": "tuned"}
    assert found["images"] == len(CLASSES) * TEST
    assert found["a"]["accuracy"] == metrics["zero_shot"]["accuracy"]
    assert found["b"]["accuracy"] == metrics["tuned"]["accuracy"]
    assert {row["name"]: row["b"] for row in found["per_class"]} == metrics["tuned"]["per_class"]

    told = dspt("compare", "tuned", "more", folder).stdout
    assert f"Accuracy on {len(CLASSES) * TEST} images" in told
    assert "Only B has the class whale and may predict it." in told


def test_a_model_is_compared_with_its_corrected_version_on_held_out_images(
    models: Path, folder: Path, backbone: Backbone, features: Path
) -> None:
    photos = folder / "train"
    with load_dataset(photos) as opened:
        first = run(opened, backbone, features, epochs=1)
        held_out = [entry for entry in first.audit.entries if entry.held_out]
        dropped = next(entry.file for entry in first.audit.entries if not entry.held_out)
        relabel = {held_out[0].file: held_out[0].suggested}
        corrected = Corrections.of(relabel, [dropped]).apply(opened)
        second = run(corrected, backbone, features, epochs=1)
    assert {e.file for e in second.audit.entries if e.held_out} == {e.file for e in held_out}
    save_model(first.model, models / "first")
    save_model(second.model, models / "second")
    rows = [*relabel.items(), (dropped, "drop")]
    (models / "table.csv").write_text(
        "file,correct_label\n" + "".join(f"{file},{label}\n" for file, label in rows)
    )
    compare = ("compare", "first", "second", photos)
    found = json.loads(dspt(*compare, "--corrections", "table.csv", "--json").stdout)
    assert found["images"] == len(held_out)
    labels = [relabel.get(entry.file, entry.given) for entry in held_out]
    assert {row["name"]: row["images"] for row in found["per_class"]} == dict(Counter(labels))
    refused = dspt(*compare, ends=2).stderr
    assert "pass the corrections that they were tuned with (--corrections)" in refused


def test_copies_change_nothing_in_what_is_held_out_also_when_they_are_dropped(
    models: Path, folder: Path, backbone: Backbone, features: Path
) -> None:
    photos = models / "copied"
    shutil.copytree(folder / "train", photos)
    originals = [file for name in CLASSES for file in sorted((photos / name).iterdir())[:3]]
    copies = [shutil.copy(file, file.with_name(f"z copy of {file.name}")) for file in originals]
    drop = [str(file.relative_to(photos)) for file in copies]
    with load_dataset(photos) as opened:
        first = run(opened, backbone, features, epochs=1)
        second = run(Corrections.of(drop=drop).apply(opened), backbone, features, epochs=1)
    held_out = {entry.file for entry in first.audit.entries if entry.held_out}
    assert {entry.file for entry in second.audit.entries if entry.held_out} == held_out
    for name, result in (("first", first), ("second", second)):
        save_model(result.model, models / name)
    (models / "table.csv").write_text(
        "file,correct_label\n" + "".join(f"{file},drop\n" for file in drop)
    )
    compared = dspt("compare", "first", "second", photos, "--corrections", "table.csv", "--json")
    found = json.loads(compared.stdout)
    assert found["images"] == len(held_out)
    for side, result in (("a", first), ("b", second)):
        metrics = result.metrics
        assert found[side]["accuracy"] == metrics[metrics["served"]]["accuracy"]


def test_without_a_test_part_all_images_have_to_be_asked_for(models: Path, folder: Path) -> None:
    told = dspt("compare", "tuned", "untuned", folder / "test", ends=2).stderr
    assert "has no test/ to compare on" in told
    assert "--all" in told
    found = json.loads(
        dspt("compare", "tuned", "untuned", folder / "test", "--all", "--json").stdout
    )
    assert found["images"] == len(CLASSES) * TEST
