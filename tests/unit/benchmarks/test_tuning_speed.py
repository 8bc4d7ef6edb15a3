"""`python -m benchmarks.tuning_speed`: what it derives, and one run of it."""

from __future__ import annotations

import json
import mmap
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import open_clip
import pytest
from towers import TINY_IMAGES

from benchmarks.skeleton.program import run
from benchmarks.tuning_speed import run as tuning_speed
from benchmarks.tuning_speed import setup, stages
from benchmarks.tuning_speed.__main__ import BENCHMARK
from benchmarks.tuning_speed.plain import PlainTrainer
from benchmarks.tuning_speed.report import _job_goals, _stages, pairs, seconds
from benchmarks.tuning_speed.run import Timing, steps_for, worker
from benchmarks.tuning_speed.setup import Case, build_backbone, class_names
from benchmarks.tuning_speed.stages import Peaks
from dspt.config import TuneConfig
from dspt.kit.progress import Progress

TIMING = Timing("ours", "float32", 100, 0.5, 2.0, 0.9, 3.0, None, 0.01, 1 << 30, 1e-9, 1e-3)


def test_an_epoch_is_16_shots_of_every_class_in_batches_of_32() -> None:
    assert TIMING.epoch == 50 * 2.0
    assert replace(TIMING, classes=3).epoch == 2 * 2.0


def test_a_job_is_50_epochs_and_the_encoding_of_every_photo() -> None:
    assert TIMING.job == 50 * 100.0 + 1600 * 0.01


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
    names = [name.lower() for name in class_names(2001)]
    assert len(set(names)) == 2001
    assert names[1000] == "tench 1"


def test_fewer_steps_for_more_classes_by_default() -> None:
    assert [steps_for(classes) for classes in (10, 100, 1000)] == [5, 3, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", "0"], "'0' must be a whole number from 1"),
        (["--stages", "0"], "'0' must be a whole number from 1"),
    ],
)
def test_invalid_options_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(BENCHMARK, arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_worker_is_named_and_can_be_sent_to_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.tuning_speed.run.Child", lambda *arguments: arguments)
    case = Case("RN50", 2, "float32", 1, tmp_path)
    name, *order = cast(tuple[Any, ...], worker(PlainTrainer, case))
    assert name == "PlainTrainer, RN50, 2 classes, float32"
    assert pickle.loads(pickle.dumps(order))[1:] == [PlainTrainer, case]


class InThisProcess:
    """What a benchmark uses of `Child`."""

    def __init__(self, make: Callable[[Case], Any], case: Case) -> None:
        self._trainer = make(case)

    def ready(self) -> None:
        pass

    def call(self, method: str, *arguments: Any) -> Any:
        return getattr(self._trainer, method)(*arguments)

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a small architecture, whose trainers run in this process on small photos."""
    config = {
        "embed_dim": 16,
        "vision_cfg": TINY_IMAGES,
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 128,
            "heads": 2,
            "layers": 3,
        },
    }
    file = tmp_path / "small-for-speed.json"
    file.write_text(json.dumps(config))
    open_clip.add_model_config(file)
    monkeypatch.setattr(tuning_speed, "worker", InThisProcess)
    monkeypatch.setattr(setup, "PHOTO_SIZE", (64, 48))
    return file.stem


def test_a_quick_run(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--quick", "--backbones", small, "--device", "cpu"]
    assert run(BENCHMARK, [*arguments, "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "tuning_speed.json").read_text())
    plain, ours = (
        timing for timing in document["timings"][small] if timing["precision"] == "float32"
    )
    assert (plain["trainer"], ours["trainer"]) == ("plain", "ours")
    assert ours["text_step_cpu"] < plain["text_step_cpu"] < plain["step_cpu"]
    assert plain["text_step"] < plain["step"]
    assert ours["derived"]["epoch"] == 5 * ours["step"]
    assert plain["context_difference"] == 0
    assert ours["context_moved"] > 0
    assert ours["context_difference"] < 1e-3 * ours["context_moved"]
    assert ours["memory_beyond_model"] >= 0
    assert document["settings"]["seed"] == 1
    text = (tmp_path / "tuning_speed.md").read_text()
    assert "| 10 | plain | float32 |" in text
    assert "Speed of prompt tuning" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_each_stage_has_a_peak_of_its_own() -> None:
    peaks = Peaks("cpu")
    peaks.progress(Progress("encoding", None, None, 0.1, None))
    size = 64 << 20
    # Not from the heap, which may have as much left by earlier tests: the process would not grow.
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as taken:
        np.frombuffer(taken, np.uint8)[:] = 1
    peaks.progress(Progress("encoding", None, None, 0.2, None))
    peaks.progress(Progress("zero_shot", None, None, 0.5, None))
    encoding, zero_shot = peaks.finished()
    assert [encoding["stage"], zero_shot["stage"]] == ["encoding", "zero_shot"]
    assert encoding["mib"] > 0.9 * size / (1 << 20) > zero_shot["mib"] + 32


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_whole_jobs_alone(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, backbone = build_backbone(small, 1, "cpu")
    monkeypatch.setattr(stages, "load_backbone", lambda name, device: backbone)
    monkeypatch.setattr(stages, "TuneConfig", partial(TuneConfig, epochs=2))
    arguments = ["--classes", "--stages", "3", "2", "--device", "cpu", "--out", str(tmp_path)]
    assert run(BENCHMARK, arguments) == 0
    document = json.loads((tmp_path / "tuning_speed.json").read_text())
    assert document["timings"] == {}
    order = ["encoding", "zero_shot", "tuning", "evaluating", "saving"]
    rows = document["stages"]
    assert [(row["classes"], row["stage"]) for row in rows] == [
        (n, s) for n in (2, 3) for s in order
    ]
    text = (tmp_path / "tuning_speed.md").read_text()
    assert "| 2 | all but encoding |" in text
    assert "Whole jobs" in capsys.readouterr().out


def test_the_encoding_does_not_count_towards_the_goals_of_a_job() -> None:
    rows = [
        {"classes": 100, "stage": stage, "seconds": taken, "cpu_seconds": 2 * taken, "mib": mib}
        for stage, taken, mib in [
            ("encoding", 90.0, 9000.0),
            ("tuning", 40.0, 512.0),
            ("evaluating", 10.0, 1024.0),
        ]
    ]
    assert list(_job_goals(rows)) == [
        ("whole job, 100 classes: evaluating at most a fifth", "20%", True),
        ("whole job, 100 classes: within 60.0 s", "50.0 s", True),
        ("whole job, 100 classes: within 2 GiB", "1.00 GiB", True),
    ]
    assert _stages(rows)[-1] == "| 100 | all but encoding | 50.0 s | 1.7 min | 1,024 |"
