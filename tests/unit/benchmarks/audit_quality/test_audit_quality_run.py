"""The whole command on tiny photographs with the built-in backbone."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from benchmarks.audit_quality import cli, measure
from benchmarks.audit_quality.rankings import METHODS
from tests.photographs import write_photographs

CLASSES = ("cat", "coffee", "moon")
QUICK = ["--seeds", "1", "--shots", "8", "--config", '{"epochs": 20}', "--device", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets") / "photos"
    return write_photographs(root, CLASSES, train=10, test=2, seed=4)


def run(folder: Path, *arguments: str) -> int:
    places = ["--out", str(folder.parent / "out"), "--features", str(folder.parent / "features")]
    return cli.main(["--data", str(folder), *QUICK, *places, *arguments])


@pytest.mark.slow
def test_the_command_measures_reports_and_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = ["--rates", "0", "0.25", "--kinds", "symmetric"]
    assert run(folder, *grid) == 0
    assert "Labels called wrong" in capsys.readouterr().out
    out = folder.parent / "out"
    names = {path.name for path in out.iterdir()}
    assert names == {
        "audit_quality_cells",
        *(f"audit_quality.{e}" for e in ("json", "md", "png", "svg")),
    }
    document = json.loads((out / "audit_quality.json").read_text())
    assert document["command"] == (
        "python -m benchmarks.audit_quality --data photos --rates 0 0.25 --kinds symmetric "
        "--shots 8 --seeds 1 --config '{\"epochs\": 20}' --device cpu"
    )
    assert str(folder.parent) not in (out / "audit_quality.json").read_text()
    clean, noisy = document["cells"]
    assert (clean["wrong_share"], noisy["wrong_share"]) == (0, 0.25)
    assert set(clean["rankings"]) == set(noisy["rankings"]) == set(METHODS)
    assert not any(clean["rankings"].values())
    # photographs of a cat, a cup and the moon are easily told apart
    assert noisy["rankings"]["ours"]["auc"] > 0.9
    assert noisy["flags"]["ours"]["wrong"] == 6
    rate = noisy["noise_rate"]
    assert 0 <= rate["low"] <= rate["estimate"] <= rate["high"] <= 1

    record = json.loads(next((out / "audit_quality_cells").glob("*symmetric*")).read_text())
    flips = sum(g != t for g, t in zip(record["given"], record["true"], strict=True))
    assert flips == 6
    assert len(record["files"]) == 24

    # what is finished is not measured again
    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    before = (out / "audit_quality.json").read_bytes()
    monkeypatch.setattr(measure.Bench, "measure", refuse)
    assert run(folder, *grid) == 0
    assert (out / "audit_quality.json").read_bytes() == before
    with pytest.raises(AssertionError, match="measured again"):
        run(folder, *grid, "--logistic-c", "2")


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


def test_data_and_settings_at_fault(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(tmp_path / "nothing here") == 2
    assert "there is no such folder" in "".join(capsys.readouterr().err.split("\n"))
    for arguments, message in (
        (["--config", '{"epochs": 0}'], "--config"),
        (["--config", "{"], "--config"),
        (["--rates", "1"], "is no share"),
        (["--shots", "0"], "is below 1"),
        (["--given-labels", "a.csv", "--data", "a", "b"], "give one --data"),
    ):
        with pytest.raises(SystemExit) as exit_:
            run(folder, *arguments)
        assert exit_.value.code == 2
        assert message in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    assert run(folder) == 2
    assert "not installed: cleanlab, sklearn, matplotlib" in capsys.readouterr().err
