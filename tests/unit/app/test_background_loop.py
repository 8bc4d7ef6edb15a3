"""Loops survive errors, report them once, and tell when they are stuck."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from app.kit import background_loop
from app.kit.background_loop import Loop, LoopsCollector, stop_all
from tests.services import wait_until


@contextmanager
def running(work: Callable[[], object], seconds: float = 0.001) -> Iterator[Loop]:
    loop = Loop("work", work, seconds)
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()


def test_any_error_is_survived_and_logged_once_per_kind() -> None:
    errors = [KeyError("a"), KeyError("b"), ValueError("c"), KeyError("d")]
    left = iter([*errors, None, KeyError("e")])
    ended = threading.Event()

    def work() -> None:
        error = next(left, StopIteration)
        if error is StopIteration:
            ended.set()
        elif isinstance(error, Exception):
            raise error

    with capture_logs() as lines, running(work):
        assert ended.wait(30)
    failed = [line["log_level"] for line in lines if line["event"] == "work failed; retrying"]
    assert failed == ["error"] * 3  # KeyError, ValueError, and KeyError after a success
    assert all(line["exc_info"] for line in lines if line["log_level"] == "error")


def test_the_time_of_the_last_success_is_exported() -> None:
    failing = threading.Event()

    def work() -> None:
        if failing.is_set():
            raise OSError

    loop = Loop("outbox", work, 0.001)
    registry = CollectorRegistry()
    registry.register(LoopsCollector([loop]))

    def exported() -> float:
        text = generate_latest(registry).decode()
        return float(text.split('timestamp_seconds{loop="outbox"} ')[1].split()[0])

    assert exported() == 0
    begin = time.time()
    loop.start()
    try:
        wait_until(lambda: exported() >= begin, 30, "a success")
        failing.set()
        with capture_logs() as lines:
            wait_until(lambda: lines, 30, "a failure")
        last = exported()
        loop.wake()
        assert exported() == last
    finally:
        loop.stop()


def test_a_loop_is_stuck_while_a_round_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_loop, "_STUCK_MARGIN_SECONDS", 0.05)
    hold, release = threading.Event(), threading.Event()

    def work() -> None:
        if hold.is_set():
            release.wait(60)

    with running(work, 0.01) as loop:
        wait_until(lambda: loop.last_success, 30, "a round")
        hold.set()
        wait_until(lambda: loop.stuck, 30, "stuck")
        hold.clear()
        release.set()
        wait_until(lambda: not loop.stuck, 30, "going on")


def test_a_failing_loop_is_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_loop, "_LONGEST_PAUSE_SECONDS", 0.01)
    rounds = 0

    def work() -> None:
        nonlocal rounds
        rounds += 1
        raise OSError

    with running(work) as loop:
        wait_until(lambda: rounds > 20, 30, "rounds")
        assert not loop.stuck
        assert loop.last_success is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_counts_as_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_loop, "_STUCK_MARGIN_SECONDS", 0.05)

    def work() -> None:
        raise SystemExit  # not an Exception: ends the thread

    with running(work, 0.01) as loop:
        wait_until(lambda: loop.stuck, 30, "stuck")


def test_pauses_grow_to_a_limit() -> None:
    loop = Loop("work", lambda: None, 1.0)
    assert [loop._pause(failures) for failures in (0, 1, 2, 3, 100)] == [1, 2, 4, 5, 5]
    assert Loop("work", lambda: None, 3600.0)._pause(100) == 3600


def test_a_stuck_round_does_not_hold_up_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_loop, "_STOP_SECONDS", 0.2)
    release = threading.Event()
    loops = [Loop(name, lambda: release.wait(60), 0.01) for name in "ab"]
    for loop in loops:
        loop.start()
    start = time.monotonic()
    stop_all(loops)
    assert time.monotonic() - start < 10
    release.set()
