"""Fractions, times to the end and seconds of each stage."""

from __future__ import annotations

import time

import pytest

from dspt.kit.progress import Listener, Progress, StageClock


class Recorder(Listener):
    def __init__(self) -> None:
        self.seen: list[Progress] = []

    def progress(self, progress: Progress) -> None:
        self.seen.append(progress)


class Time:
    """A clock that goes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    found = Time()
    monkeypatch.setattr(time, "monotonic", found)
    return found


def test_a_job_goes_from_0_to_1_without_going_back(clock: Time) -> None:
    recorder = Recorder()
    stages = StageClock(recorder, epochs=10)
    for done in range(5):
        stages.at("validating", done, 4)
    for done in range(5):
        stages.at("encoding", done, 4)
    stages.at("zero_shot")
    for epoch in range(11):
        stages.at("tuning", epoch, 10, epoch)
    stages.at("evaluating")
    stages.at("saving")
    stages.at("saving", 1)
    fractions = [progress.fraction for progress in recorder.seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    order = list(dict.fromkeys(progress.stage for progress in recorder.seen))
    assert order == ["validating", "encoding", "zero_shot", "tuning", "evaluating", "saving"]


def test_without_tuning_encoding_is_most_of_a_job(clock: Time) -> None:
    recorder = Recorder()
    stages = StageClock(recorder, epochs=0)
    stages.at("encoding")
    clock.now += 17
    stages.at("encoding", 1)
    stages.at("zero_shot")
    stages.at("evaluating")
    stages.at("saving", 1)
    fractions = [progress.fraction for progress in recorder.seen]
    assert fractions == sorted(fractions)
    assert recorder.seen[1].eta_seconds == pytest.approx(2)


def test_epochs_are_reported_while_tuning_only(clock: Time) -> None:
    recorder = Recorder()
    stages = StageClock(recorder, epochs=10)
    stages.at("encoding", 1, 2)
    stages.at("tuning", 0, 10, 0)
    stages.at("tuning", 7, 10, 7)
    stages.at("evaluating")
    assert [(p.epoch, p.epochs) for p in recorder.seen] == [
        (None, None),
        (0, 10),
        (7, 10),
        (None, None),
    ]


def test_the_time_to_the_end_follows_the_pace_so_far(clock: Time) -> None:
    recorder = Recorder()
    stages = StageClock(recorder, epochs=10)
    stages.at("encoding")  # at 0.05 of the job
    clock.now += 20
    stages.at("encoding", 1, 2)  # at 0.25
    clock.now += 20
    stages.at("encoding", 2, 2)  # at 0.45
    assert recorder.seen[0].eta_seconds is None
    assert recorder.seen[1].eta_seconds == pytest.approx(75)
    assert recorder.seen[2].eta_seconds == pytest.approx(55)


def test_the_time_to_the_end_of_tuning_does_not_follow_the_pace_of_encoding(clock: Time) -> None:
    recorder = Recorder()
    stages = StageClock(recorder, epochs=10)
    stages.at("encoding")
    clock.now += 1  # all photos were encoded before
    stages.at("encoding", 1)
    stages.at("tuning", 2, 10, 2)  # goes on after a stop
    clock.now += 30
    stages.at("tuning", 5, 10, 5)
    assert recorder.seen[2].eta_seconds is None
    assert recorder.seen[3].eta_seconds == pytest.approx(50, rel=0.15)  # 5 epochs, and the rest


def test_at_the_end_no_time_is_left(clock: Time) -> None:
    recorder = Recorder()
    stages = StageClock(recorder, epochs=10)
    stages.at("encoding")
    clock.now += 20
    stages.at("saving", 1)
    assert recorder.seen[-1].eta_seconds == 0


def test_seconds_of_each_stage(clock: Time) -> None:
    stages = StageClock(Listener(), epochs=2)
    stages.at("encoding")
    clock.now += 3
    stages.at("encoding", 1, 2)
    clock.now += 4
    stages.at("zero_shot")
    clock.now += 5  # a stage that is told of once takes time too
    stages.at("tuning", 0, 2, 0)
    clock.now += 6
    stages.at("tuning", 2, 2, 2)
    clock.now += 0.5
    stages.at("saving")
    assert stages.seconds == pytest.approx({"encoding": 7, "zero_shot": 5, "tuning": 6.5}, abs=1e-9)
    clock.now += 1
    stages.at("saving", 1)
    assert stages.seconds["saving"] == pytest.approx(1)


def test_a_listener_may_leave_everything_out() -> None:
    listener = Listener()
    listener.progress(Progress("saving", None, None, 1.0, 0.0))
    listener.metrics({"epoch": 1})
    listener.warning("something")
