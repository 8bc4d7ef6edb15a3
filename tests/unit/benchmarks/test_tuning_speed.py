"""`python -m benchmarks.tuning_speed`: what it derives, and one run of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.tuning_speed.cli import main, steps_for
from benchmarks.tuning_speed.measure import Timing
from benchmarks.tuning_speed.report import pairs, seconds
from benchmarks.tuning_speed.setup import Case, class_names
from benchmarks.tuning_speed.worker import Worker, WorkerError

TIMING = Timing("ours", "float32", 100, 0.5, 2.0, 0.9, 3.0, None, 0.01, 1 << 30, 1e-9, 1e-3)


def test_an_epoch_is_16_shots_of_every_class_in_batches_of_32() -> None:
    assert TIMING.epoch == 50 * 2.0
    assert replace(TIMING, classes=3).epoch == 2 * 2.0


def test_a_job_is_50_epochs_and_the_encoding_of_every_view() -> None:
    assert TIMING.job() == 50 * 100.0 + 1600 * 0.01
    assert TIMING.job(views=4) == 50 * 100.0 + 5 * 1600 * 0.01


def test_equal_precisions_are_compared_and_bfloat16_with_float32() -> None:
    timings = [
        replace(TIMING, trainer=trainer, precision=precision)
        for trainer in ("plain", "ours")
        for precision in ("float32", "bfloat16")
    ]
    assert [(name, p.precision, o.precision) for name, p, o in pairs(timings, 100)] == [
        ("f32", "float32", "float32"),
        ("bf16", "bfloat16", "bfloat16"),
        ("bf16 to plain f32", "float32", "bfloat16"),
    ]
    assert len(pairs([t for t in timings if t.precision == "float32"], 100)) == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0123, "12 ms"), (3.456, "3.46 s"), (45.67, "45.7 s"), (600, "10.0 min"), (7200, "2.0 h")],
)
def test_seconds_for_reading(value: float, shown: str) -> None:
    assert seconds(value) == shown


def test_names_are_different_and_as_many_as_asked_for() -> None:
    assert len(class_names(10)) == len(set(class_names(10))) == 10
    assert class_names(10)[0] == "tench"
    assert class_names(2001)[1000] == "tench 1"


def test_fewer_steps_for_more_classes_by_default() -> None:
    assert [steps_for(classes, None) for classes in (10, 100, 1000)] == [5, 3, 1]
    assert steps_for(1000, 4) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", "0"], "'0' must be a whole number from 1"),
        (["--precision", "half"], "invalid choice"),
    ],
)
def test_invalid_options_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_trainer_that_fails_is_named(tmp_path: Path) -> None:
    case = Case("ViT-B-32", 2, "float32", "cpu", 1, tmp_path / "none")
    with (
        Worker("plain", case) as worker,
        pytest.raises(WorkerError, match="plain trainer, ViT-B-32, 2 classes, float32: "),
    ):
        worker.ready()


@pytest.mark.slow
def test_a_quick_run(tmp_path: Path) -> None:
    arguments = ["--quick", "--backbones", "ViT-S-32", "--precision", "float32", "--device", "cpu"]
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.tuning_speed", *arguments, "--out", str(tmp_path)],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    document = json.loads((tmp_path / "tuning_speed.json").read_text())
    plain, ours = document["timings"]["ViT-S-32"]
    assert (plain["trainer"], ours["trainer"]) == ("plain", "ours")
    assert ours["text_step_cpu"] < plain["text_step_cpu"] < plain["step_cpu"]
    assert plain["text_step"] < plain["step"]
    assert ours["derived"]["epoch"] == 5 * ours["step"]
    assert plain["context_difference"] == 0
    assert ours["context_moved"] > 0
    assert ours["context_difference"] < 1e-3 * ours["context_moved"]
    assert ours["memory_beyond_model"] < plain["memory_beyond_model"]
    assert document["settings"]["seed"] == 1
    text = (tmp_path / "tuning_speed.md").read_text()
    assert "| 10 | plain | float32 |" in text
    assert "Speed of prompt tuning" in found.stdout
