"""Micro-batching on one thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import zip_longest
from types import SimpleNamespace
from typing import Any

import pytest

from app.kit.batching import Batcher
from app.kit.http.errors import ServiceUnavailable


class Stage:
    """A batcher whose thread can be held; `runs` is what went through it."""

    def __init__(self, max_size: int = 10) -> None:
        self.executor = ThreadPoolExecutor(1)
        self.runs: list[tuple[str, list[int]]] = []
        self.batcher: Batcher[str, int, int] = Batcher(self.executor, self._run, max_size)

    def _run(self, key: str, items: list[int]) -> list[int | Exception]:
        self.runs.append((key, items))
        if -1 in items:
            raise ValueError("bad run")
        return [ValueError("bad item") if item == -2 else item * 10 for item in items]

    @contextmanager
    def held(self) -> Iterator[None]:
        release = threading.Event()
        self.executor.submit(release.wait)
        try:
            yield
        finally:
            release.set()

    def together(self, *calls: tuple[str, int], owners: Sequence[str] = ()) -> list[Any]:
        """Submit all while the thread is held; their results or exceptions."""

        async def submit() -> list[Any]:
            with self.held():
                tasks = [
                    start(self.batcher.submit(key, item, 1, owner))
                    for (key, item), owner in zip_longest(calls, owners)
                ]
                await asyncio.sleep(0)  # lets each of them run up to its wait
            return await asyncio.gather(*tasks, return_exceptions=True)

        return asyncio.run(submit())


def start(coroutine: Coroutine[Any, Any, int]) -> asyncio.Task[int]:
    return asyncio.get_running_loop().create_task(coroutine)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.executor.shutdown()


def test_waiting_items_share_a_batch_and_get_their_own_results(stage: Stage) -> None:
    assert stage.together(("a", 1), ("a", 2), ("a", 3)) == [10, 20, 30]
    assert stage.runs == [("a", [1, 2, 3])]


def test_keys_do_not_mix(stage: Stage) -> None:
    assert stage.together(("a", 1), ("b", 2), ("a", 3)) == [10, 20, 30]
    assert stage.runs == [("a", [1, 3]), ("b", [2])]


def test_an_idle_thread_runs_at_once(stage: Stage) -> None:
    for item in (1, 2):
        assert asyncio.run(stage.batcher.submit("a", item, 1)) == item * 10
    assert stage.runs == [("a", [1]), ("a", [2])]


def test_a_full_batch_is_followed_by_the_next() -> None:
    stage = Stage(max_size=2)
    assert stage.together(("a", 1), ("a", 2), ("a", 3)) == [10, 20, 30]
    stage.executor.shutdown()
    assert stage.runs == [("a", [1, 2]), ("a", [3])]


def test_an_item_larger_than_a_batch_goes_alone(stage: Stage) -> None:
    assert asyncio.run(stage.batcher.submit("a", 1, 99)) == 10


def test_an_error_reaches_the_whole_batch_but_no_other_one(stage: Stage) -> None:
    first, second, other = stage.together(("a", -1), ("a", 1), ("b", 1))
    assert isinstance(first, ValueError)
    assert isinstance(second, ValueError)
    assert other == 10


def test_an_error_of_one_item_reaches_no_other_one(stage: Stage) -> None:
    good, bad, also_good = stage.together(("a", 1), ("a", -2), ("a", 3))
    assert (good, also_good) == (10, 30)
    assert isinstance(bad, ValueError)
    assert len(stage.runs) == 1


def test_owners_take_turns() -> None:
    stage = Stage(max_size=2)
    calls = [("a", number) for number in range(6)] + [("b", 7), ("a", 8)]
    owners = ["ann"] * 6 + ["bob", "cy"]
    assert stage.together(*calls, owners=owners) == [10 * item for _, item in calls]
    stage.executor.shutdown()
    # Bob's item waits for one batch, not for all of Ann's; batches stay full.
    assert stage.runs == [("a", [0, 8]), ("b", [7]), ("a", [1, 2]), ("a", [3, 4]), ("a", [5])]


def test_threads_share_what_waits() -> None:
    """Eight clients with one item each, on two threads: no batch takes all that wait."""
    sizes: list[int] = []
    both = threading.Barrier(2)

    def run(_key: str, items: list[int]) -> list[int]:
        sizes.append(len(items))
        both.wait(60)
        return items

    async def eight() -> None:
        batcher: Batcher[str, int, int] = Batcher(executor, run, 8, threads=2)
        release = threading.Event()
        held = [executor.submit(release.wait) for _ in range(2)]
        tasks = [start(batcher.submit("a", number, 1)) for number in range(8)]
        await asyncio.sleep(0)  # lets each of them run up to its wait
        release.set()
        assert await asyncio.gather(*tasks) == list(range(8))
        assert all(each.result() for each in held)

    with ThreadPoolExecutor(2) as executor:
        asyncio.run(eight())
    assert sizes == [4, 4]


def test_what_waits_at_a_shutdown_is_refused(stage: Stage) -> None:
    async def run() -> None:
        with stage.held():
            waiting = [start(stage.batcher.submit(key, 1, 1)) for key in ("a", "b")]
            await asyncio.sleep(0)
            stage.executor.shutdown(wait=False, cancel_futures=True)
            for each in waiting:
                with pytest.raises(ServiceUnavailable) as caught:
                    await each
                assert caught.value.code == "stopping"
        with pytest.raises(ServiceUnavailable):
            await stage.batcher.submit("a", 1, 1)

    asyncio.run(run())
    assert stage.runs == []


def test_a_cancelled_caller_does_not_cancel_the_others(stage: Stage) -> None:
    async def run() -> int:
        with stage.held():
            leaver = start(stage.batcher.submit("a", 1, 1))
            stayer = start(stage.batcher.submit("a", 2, 1))
            await asyncio.sleep(0)
            leaver.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaver
        return await stayer

    assert asyncio.run(run()) == 20
    assert stage.runs == [("a", [2])]


def test_items_of_cancelled_callers_are_not_run(stage: Stage) -> None:
    async def run() -> list[int]:
        with stage.held():
            leavers = [start(stage.batcher.submit(key, 1, 9)) for key in ("a", "b")]
            await asyncio.sleep(0)
            for leaver in leavers:
                leaver.cancel()
            await asyncio.gather(*leavers, return_exceptions=True)
            stayers = [start(stage.batcher.submit("a", item, 5)) for item in (2, 3)]
            await asyncio.sleep(0)
        return await asyncio.gather(*stayers)

    assert asyncio.run(run()) == [20, 30]
    assert stage.runs == [("a", [2, 3])]  # there was room again, too


def test_an_idle_thread_waits_for_a_batch_to_fill() -> None:
    runs: list[list[int]] = []

    def note(_key: str, items: list[int]) -> list[int]:
        runs.append(items)
        return items

    async def run(batcher: Batcher[str, int, int]) -> None:
        await asyncio.gather(*(batcher.submit("a", item, 1) for item in range(3)))

    with ThreadPoolExecutor(1) as executor:
        start = time.monotonic()
        asyncio.run(run(Batcher(executor, note, 3, threads=3, max_wait=60)))
        assert runs == [[0, 1, 2]]
        assert time.monotonic() - start < 30  # it was full
        asyncio.run(Batcher[str, int, int](executor, note, 3, max_wait=0.01).submit("a", 9, 1))
    assert runs[1:] == [[9]]  # it was not, and went when it had waited


def test_a_pace_delays_runs_after_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        slept.append(seconds)

    clock = SimpleNamespace(monotonic=lambda: now, sleep=sleep)
    monkeypatch.setattr("app.kit.batching.time", clock)

    async def one_after_the_other(batcher: Batcher[str, int, int]) -> None:
        for number in range(8):
            assert await batcher.submit("a", number, 1) == number

    with ThreadPoolExecutor(1) as executor:
        batcher: Batcher[str, int, int] = Batcher(executor, lambda _, items: items, 10, pace=0.05)
        asyncio.run(one_after_the_other(batcher))
    assert slept == pytest.approx([0.05] * 4)  # four at once, then in step
