"""Calls that may never return."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from app.kit.time_limit import TimeLimit


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_results_and_errors_pass_through() -> None:
    limit = TimeLimit("the bucket", 60)
    assert limit.call(lambda _: 1) == 1

    def fail(_progress: Callable[[], None]) -> None:
        raise FileNotFoundError("a")

    with pytest.raises(FileNotFoundError):
        limit.call(fail)
    assert limit.call(lambda _: 2) == 2


def test_silence_ends_a_call_and_refuses_the_next_ones_for_a_while(
    release: threading.Event,
) -> None:
    limit = TimeLimit("the bucket", 0.2)
    with pytest.raises(TimeoutError, match=r"the bucket did not answer within 0\.2 s"):
        limit.call(lambda _: release.wait(60))
    calls: list[int] = []
    with pytest.raises(TimeoutError, match="a moment ago"):
        limit.call(lambda _: calls.append(1))
    assert not calls
    limit._silent_until = 0.0
    limit.call(lambda _: calls.append(1))
    assert calls == [1]


def test_progress_extends_a_call(release: threading.Event) -> None:
    def transfer(progress: Callable[[], None]) -> str:
        for _ in range(5):
            assert not release.wait(0.1)
            progress()
        return "done"

    assert TimeLimit("the bucket", 0.4).call(transfer) == "done"
    with pytest.raises(TimeoutError):
        TimeLimit("the bucket", 0.4).call(lambda _: transfer(lambda: None))
