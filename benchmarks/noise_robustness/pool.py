"""Runs jobs in parallel processes, which end on an interrupt and with their parent."""

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

from dspt.kit.cpus import THREAD_VARIABLES

Job = TypeVar("Job")
Result = dict[str, Any]
#: Called in each new process with a function that returns whether to stop; returns the runner.
MakeRunner = Callable[[Callable[[], bool]], Callable[[Job], Result]]


def run_jobs(
    jobs: Iterable[Job],
    make_runner: MakeRunner[Job],
    processes: int,
    *,
    done: Callable[[Job, Result], None],
    failed: Callable[[Job, BaseException], None],
    may_start: Callable[[], bool] = lambda: True,
) -> None:
    """Run every job once; call `done` or `failed` in this process as each one ends.

    Once `may_start()` is false no further job starts, and those that run finish. If a process dies,
    the jobs that were running are run again one by one, to find the one that killed it. On
    KeyboardInterrupt, and on any error in `done` or `failed`, stops the running jobs and raises the
    error. The processes share the CPUs of this one.
    """
    waiting = deque(jobs)
    with _threads_divided_by(processes):
        while waiting:
            for suspect in _in_one_pool(waiting, make_runner, processes, done, failed, may_start):
                alone = deque([suspect])
                if _in_one_pool(alone, make_runner, 1, done, failed, lambda: True):
                    failed(suspect, RuntimeError("its process died, maybe out of memory"))


def _in_one_pool(
    waiting: deque[Job],
    make_runner: MakeRunner[Job],
    processes: int,
    done: Callable[[Job, Result], None],
    failed: Callable[[Job, BaseException], None],
    may_start: Callable[[], bool],
) -> list[Job]:
    """Run all of `waiting`; if a process dies, return the jobs that were running."""
    context = multiprocessing.get_context("spawn")  # torch does not survive a fork
    stop = context.Event()
    pool = ProcessPoolExecutor(processes, context, _start, (make_runner, stop))
    running: dict[Future[Result], Job] = {}
    try:
        while waiting or running:
            if not may_start():
                waiting.clear()
            while waiting and len(running) < processes:
                job = waiting.popleft()
                try:
                    with _without_interrupts():
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
def _threads_divided_by(processes: int) -> Iterator[None]:
    """Give new processes their share of this process's threads (read when torch is imported)."""
    before = {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    os.environ |= {name: str(max(1, int(value) // processes)) for name, value in before.items()}
    try:
        yield
    finally:
        os.environ |= before


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back until the end. Processes that start meanwhile never get it: their parent
    stops them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_run_one: Callable[[Any], Result] | None = None


def _start(make_runner: MakeRunner[Any], stop: Event) -> None:
    """Initialise a new process."""
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
