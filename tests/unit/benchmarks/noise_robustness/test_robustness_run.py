"""The whole command on tiny sets with the built-in backbone."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from noise_sets import CLASSES, COLOURS, write_class_folders, write_coop_set, write_image

from benchmarks.noise_robustness.__main__ import BENCHMARK
from benchmarks.skeleton.program import run
from dspt.backbones import Backbone, load_backbone

QUICK = ["--seeds", "1", "--shots", "4", "--epochs", "1", "--default-config", '{"epochs": 1}']
RUN_JOBS = "benchmarks.noise_robustness.grid.run_jobs"
RunJobs = Callable[..., None]
QUICK += ["--logistic-c", "3"]  # choosing it takes six times as many fits
#: Of each kind; test_robustness_cells runs them all.
METHODS = ["zero_shot", "dspt", "default", "logistic"]
QUICK += ["--methods", *METHODS]
GRID = [*QUICK, "--rates", "0", "0.5", "--kinds", "symmetric", "--jobs", "2", "--device", "cpu"]


@pytest.fixture(scope="module", autouse=True)
def small_tower(tiny: Backbone) -> Iterator[None]:
    """Runs use a small tower with random weights instead of the built-in backbone."""

    def load(name: str, device: Any) -> Backbone:
        return tiny if name == "builtin" else load_backbone(name, device=device)

    with pytest.MonkeyPatch.context() as patch:
        for module in ("grid", "methods"):
            patch.setattr(f"benchmarks.noise_robustness.{module}.load_backbone", load)
        yield


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    write_class_folders(root / "photos")
    write_coop_set(root / "coop" / "eurosat", "EuroSAT", "2750")
    return root


@pytest.fixture(scope="module")
def finished(sets: Path, one_by_one: RunJobs) -> Path:
    """A result folder after a run over two data sets and both protocols.

    `progress` beside it has what the run printed to standard error.
    """
    data, printed = [str(sets / "photos"), str(sets / "coop")], io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(printed):
        patch.setattr(RUN_JOBS, one_by_one)
        assert run(BENCHMARK, ["--data", *data, *GRID, *folders(sets)]) == 0
    (sets / "progress").write_text(printed.getvalue())
    return sets / "out"


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw figures in `finished` alone: they take seconds, and test_robustness_report has them."""
    monkeypatch.setattr("benchmarks.noise_robustness.report.figures", lambda document: {})


def folders(sets: Path) -> list[str]:
    return ["--out", str(sets / "out"), "--features", str(sets / "features")]


def cells(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "noise_robustness_cells").iterdir()}


@pytest.fixture(scope="module")
def one_by_one() -> RunJobs:
    """Runs cells in this process, without the time that others take to start."""

    def run_jobs(jobs: Any, make_runner: Any, processes: int, *, done: Any, **_: Any) -> None:
        runner = make_runner()
        for job in jobs:
            done(job, runner(job))

    return run_jobs


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, one_by_one: RunJobs) -> None:
    """Cells run in this process."""
    monkeypatch.setattr(RUN_JOBS, one_by_one)


def test_every_cell_is_run_and_reported(finished: Path) -> None:
    noises = ("clean", "global-symmetric-50", "per_class-symmetric-50")
    assert set(cells(finished)) == {
        f"{data}-4shot-{noise}-seed1.json" for data in ("photos", "eurosat") for noise in noises
    }
    document = json.loads((finished / "results.json").read_text())
    assert len(document["cells"]) == 6
    assert document["failed"] == {}
    for cell in document["cells"]:
        assert cell["wrong_share"] == (0 if cell["noise"]["kind"] == "clean" else 0.5)
        assert list(cell["methods"]) == METHODS
    table = (finished / "table.md").read_text()
    assert "| eurosat | logistic regression |" in table
    assert document["command"] in table
    assert (finished / "accuracy-per_class-4shot.png").stat().st_size > 1000


def test_a_run_in_a_pipe_prints_a_line_for_each_cell(finished: Path) -> None:
    lines = (finished.parent / "progress").read_text().splitlines()
    cells = [line.split()[:2] for line in lines if line.startswith("cells ")]
    assert cells == [["cells", f"{number}/6"] for number in range(1, 7)]


def test_a_second_run_goes_on_where_the_first_was(
    sets: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    before = cells(out)
    (out / "noise_robustness_cells" / "photos-4shot-clean-seed1.json").unlink()
    (out / "noise_robustness_cells" / "eurosat-4shot-clean-seed1.json").write_text('{"key": ')
    run_again: list[str] = []

    def instead(jobs: Any, make_runner: object, processes: int, *, done: Any, **_: Any) -> None:
        for job in jobs:
            run_again.append(job.cell.name)
            done(job, {k: json.loads(before[f"{job.cell.name}.json"])[k] for k in RESULT})

    monkeypatch.setattr(RUN_JOBS, instead)
    data = [str(sets / "photos"), str(sets / "coop")]
    arguments = ["--data", *data, *GRID, "--features", str(sets / "features"), "--out", str(out)]
    assert run(BENCHMARK, arguments) == 0
    assert run_again == ["photos-4shot-clean-seed1", "eurosat-4shot-clean-seed1"]
    assert cells(out) == before  # the same flip maps and keys again


RESULT = ("methods", "seconds")


def test_report_only_runs_nothing(
    sets: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    before = (out / "table.md").read_text()
    (out / "table.md").unlink()
    data = ["--data", str(sets / "photos"), str(sets / "coop")]
    assert run(BENCHMARK, [*data, *GRID, "--out", str(out), "--report-only"]) == 0
    assert (out / "table.md").read_text() == before
    with pytest.raises(SystemExit) as caught:
        run(BENCHMARK, [*data, *GRID, "--out", str(tmp_path / "none"), "--report-only"])
    assert caught.value.code == 2
    assert "not found: " in capsys.readouterr().err


@pytest.mark.usefixtures("in_this_process")
def test_a_cell_that_cannot_be_is_named_and_the_others_are_run(
    tmp_path: Path, sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_class_folders(tmp_path / "uneven", train=1)
    for i in range(20, 28):
        write_image(photos / "train" / "red_fox" / f"{i}.png", COLOURS["red_fox"], i)
    arguments = ["--data", str(photos), *GRID, "--shots", "8", "--methods", "zero_shot", "logistic"]
    assert (
        run(
            BENCHMARK,
            [*arguments, "--out", str(tmp_path / "out"), "--features", str(sets / "features")],
        )
        == 1
    )
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(document["cells"]) == 2
    name = "uneven-8shot-per_class-symmetric-50-seed1"
    assert list(document["failed"]) == [name]
    assert "class 1 must exchange 4 images" in document["failed"][name]
    assert f"failed: {name}" in capsys.readouterr().err


@pytest.mark.usefixtures("in_this_process")
def test_labels_given_by_people(tmp_path: Path, sets: Path) -> None:
    table = tmp_path / "human.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "aggre", "worse"])
        for at, name in enumerate(CLASSES):
            for i in range(8):
                other = CLASSES[(at + 1) % 3] if i % 2 else name
                writer.writerow([f"{name}/{i}.png", name, other])
    arguments = ["--data", str(sets / "photos"), *QUICK, "--methods", "zero_shot", "logistic"]
    human = ["--given-labels", str(table), "--given-column", "aggre", "worse"]
    out = tmp_path / "out"
    assert (
        run(
            BENCHMARK, [*arguments, *human, "--out", str(out), "--features", str(sets / "features")]
        )
        == 0
    )
    kept = {name: json.loads(data) for name, data in cells(out).items()}
    assert kept["photos-4shot-human-aggre-seed1.json"]["wrong_share"] == 0
    worse = kept["photos-4shot-human-worse-seed1.json"]
    for file, true, given in zip(worse["files"], worse["true"], worse["given"], strict=True):
        wrong = int(Path(file).stem) % 2
        assert given == (true + wrong) % 3
    assert worse["wrong_share"] > 0
    assert "| photos | logistic regression |" in (out / "table.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere: no such file or folder"),
        (["--data", "{sets}/photos", "{sets}/photos"], "two data sets are named 'photos'"),
        (["--data", "{sets}/photos", "--device", "cuda:9"], "device is cuda:9, but"),
        (["--data", "{sets}/photos", "--backbone", "ViT-Q/none"], "ViT-Q"),
        (["--data", "{sets}/photos", "--given-labels", "none.csv"], "none.csv: cannot be read"),
        (["--data", "{sets}/photos", "{sets}/coop", "--given-labels", "a.csv"], "a single --data"),
        (["--data", "{sets}/photos", "--default-config", '{{"epoch": 1}}'], "did you mean epochs"),
    ],
)
def test_settings_and_data_at_fault_are_named(
    arguments: list[str], message: str, sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [argument.format(sets=sets) for argument in arguments]
    assert run(BENCHMARK, [*filled, *folders(sets)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.usefixtures("in_this_process")
def test_ctrl_c_leaves_finished_cells_and_nothing_else(
    tmp_path: Path,
    sets: Path,
    one_by_one: RunJobs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(jobs: Any, *arguments: Any, **options: Any) -> None:
        one_by_one(jobs[:2], *arguments, **options)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RUN_JOBS, interrupted)
    temporary, out = tmp_path / "tmp", tmp_path / "out"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    arguments = ["--data", str(sets / "photos"), *GRID, "--methods", "zero_shot", "--out", str(out)]
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run(BENCHMARK, [*arguments, "--features", str(sets / "features")]) == 130
    finally:
        signal.signal(signal.SIGINT, handler)
    told = " ".join(capsys.readouterr().err.split())
    assert "Stopped with 2 of 3 cells finished. The same command resumes." in told
    assert all(json.loads(data)["methods"] for data in cells(out).values())
    assert len(cells(out)) == 2
    assert "**Interrupted** after 2 cells." in (out / "table.md").read_text()
    assert list(temporary.iterdir()) == []
