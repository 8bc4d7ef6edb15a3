"""The whole command on tiny photographs with the built-in backbone."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.audit_quality import run as audit
from benchmarks.audit_quality.__main__ import BENCHMARK
from benchmarks.audit_quality.report import FLAG_LABELS, LABELS
from benchmarks.skeleton import program
from dspt.backbones import Backbone
from tests.photographs import write_photographs

CLASSES = ("cat", "coffee", "moon")
QUICK = ["--seeds", "1", "--shots", "8", "--config", '{"epochs": 3}', "--device", "cpu"]
QUICK += ["--logistic-c", "3"]  # choosing it takes six times as many fits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets") / "photos"
    return write_photographs(root, CLASSES, train=10, test=2, seed=4)


@pytest.fixture(autouse=True)
def loaded(builtin: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells run in this process, with the built-in backbone that is loaded already."""
    for module in ("grid", "methods"):
        path = f"benchmarks.noise_robustness.{module}.load_backbone"
        monkeypatch.setattr(path, lambda name, device: builtin)
    monkeypatch.setattr("benchmarks.noise_robustness.grid.run_jobs", run_jobs)


def run_jobs(jobs: Any, make: Any, processes: int, *, done: Any, **_: Any) -> None:
    runner = make()
    for job in jobs:
        done(job, runner(job))


def run(folder: Path, *arguments: str) -> int:
    places = ["--out", str(folder.parent / "out"), "--features", str(folder.parent / "features")]
    return program.run(BENCHMARK, ["--data", str(folder), *QUICK, *places, *arguments])


@pytest.mark.slow
def test_the_command_measures_reports_and_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = ["--rates", "0", "0.25", "--kinds", "symmetric"]
    assert run(folder, *grid) == 0
    assert "Labels called wrong" in capsys.readouterr().out
    out = folder.parent / "out"
    names = {path.name for path in out.iterdir()}
    assert names == {"audit_quality_cells", "audit_quality.json", "audit_quality.md"}
    document = json.loads((out / "audit_quality.json").read_text())
    assert f"--data {folder} --seeds 1 --shots 8" in document["command"]
    assert document["command"] in (out / "audit_quality.md").read_text()
    clean, noisy = document["cells"]
    assert (clean["wrong_share"], noisy["wrong_share"]) == (0, 0.25)
    assert set(clean["rankings"]) == set(noisy["rankings"]) == set(LABELS)
    assert set(noisy["flags"]) == set(FLAG_LABELS)
    assert not any(clean["rankings"].values())
    # photographs of a cat, a cup and the moon are easily told apart
    assert noisy["rankings"]["ours"]["auc"] > 0.9
    assert noisy["flags"]["ours"]["wrong"] == 6
    first = noisy["expected"][0]
    assert first["first"] == 10
    assert 0 <= first["found"] <= 6
    rate = noisy["noise_rate"]
    assert 0 <= rate["low"] <= rate["estimate"] <= rate["high"] <= 1

    record = json.loads(next((out / "audit_quality_cells").glob("*symmetric*")).read_text())
    flips = sum(g != t for g, t in zip(record["given"], record["true"], strict=True))
    assert flips == 6
    assert len(record["files"]) == 24

    # what is finished is not measured again
    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(audit.CellRunner, "__call__", refuse)
    assert run(folder, *grid) == 0
    again = json.loads((out / "audit_quality.json").read_text())
    assert again["cells"] == document["cells"]
    with pytest.raises(AssertionError, match="measured again"):
        run(folder, *grid, "--logistic-c", "2")


def test_the_audit_alone(folder: Path) -> None:
    grid = ["--rates", "0", "0.25", "--kinds", "symmetric", "--config", '{"tuning": "none"}']
    assert run(folder, *grid, "--audit-only") == 0
    out = folder.parent / "out"
    _, cell = json.loads((out / "audit_quality.json").read_text())["cells"]
    assert set(cell["rankings"]) == set(cell["flags"]) == {"ours"}
    text = (out / "audit_quality.md").read_text()
    assert "Mean ROC-AUC over 1 cells (data set x noise): 1.000." in text
    assert "cleanlab on our p" not in text
    assert "## Wrong labels to expect" in text


@pytest.mark.slow
def test_labels_that_people_gave(folder: Path) -> None:
    table = folder.parent / "human.csv"
    files = sorted(path for path in (folder / "train").rglob("*.*"))
    with table.open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(["file", "worse"])
        for number, path in enumerate(files):
            label = path.parent.name if number % 5 else "moon"
            rows.writerow([path.relative_to(folder).as_posix(), label])
    arguments = ["--given-labels", str(table), "--given-column", "worse"]
    assert run(folder, *arguments) == 0
    document = json.loads((folder.parent / "out" / "audit_quality.json").read_text())
    assert [cell["noise"]["kind"] for cell in document["cells"]] == ["clean", "human"]
    human = document["cells"][1]
    assert 0 < human["wrong_share"] < 0.25
    assert human["rankings"]["ours"]["auc"] > 0.9
    assert "human, worse" in (folder.parent / "out" / "audit_quality.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", '{"epochs": 0}'], "epochs is 0"),
        (["--given-labels", "a.csv", "--data", "{sets}/photos", "{sets}/other"], "single --data"),
    ],
)
def test_invalid_settings_are_refused(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photographs(folder.parent / "other", CLASSES, train=2, test=1)
    filled = [
        argument.format_map({"sets": folder.parent}) if "{sets}" in argument else argument
        for argument in arguments
    ]
    assert run(folder, *filled) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_missing_packages_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.skeleton.program.find_spec", lambda name: None)
    assert run(folder) == 2
    assert "not installed: cleanlab, sklearn" in capsys.readouterr().err
