"""Runs jobs in parallel processes that outlive neither an interrupt nor their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = dict[str, Any]
#: Called in each new process with a function that says whether to stop; gives what runs a job.
MakeRunner = Callable[[Callable[[], bool]], Callable[[Job], Result]]


def run_jobs(
    jobs: Iterable[Job],
    make_runner: MakeRunner[Job],
    processes: int,
    *,
    done: Callable[[Job, Result], None],
    failed: Callable[[Job, BaseException], None],
) -> None:
    """Run every job once; `done` or `failed` is called in this process as each one ends.

    A job that raises fails alone. When a process dies, the jobs under way at that moment are run
    again one by one, so that the one at fault is known. On KeyboardInterrupt, and on any error in
    `done` or `failed`, the jobs under way are stopped and the error goes on.
    """
    waiting = deque(jobs)
    while waiting:
        for suspect in _in_one_pool(waiting, make_runner, processes, done, failed):
            alone = deque([suspect])
            if _in_one_pool(alone, make_runner, 1, done, failed):
                failed(suspect, RuntimeError("its process died, perhaps for want of memory"))


def _in_one_pool(
    waiting: deque[Job],
    make_runner: MakeRunner[Job],
    processes: int,
    done: Callable[[Job, Result], None],
    failed: Callable[[Job, BaseException], None],
) -> list[Job]:
    """Empty `waiting`, or return the jobs that were under way when a process died."""
    context = multiprocessing.get_context("spawn")  # torch does not survive a fork
    stop = context.Event()
    pool = ProcessPoolExecutor(processes, context, _start, (make_runner, stop))
    running: dict[Future[Result], Job] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                job = waiting.popleft()
                try:
                    with _deaf_to_interrupts():
                        running[pool.submit(_run, job)] = job
                except BrokenProcessPool:
                    return [job, *running.values()]
            ready, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    return list(running.values())
                job = running.pop(future)
                if error is None:
                    done(job, future.result())
                else:
                    failed(job, error)
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return []


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started meanwhile ignore Ctrl-C for good: their parent tells them when to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_run_one: Callable[[Any], Result] | None = None


def _start(make_runner: MakeRunner[Any], stop: Event) -> None:
    """In each new process."""
    global _run_one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _run_one = make_runner(stop.is_set)


def _run(job: Any) -> Result:
    assert _run_one is not None
    return _run_one(job)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)
