"""An object in a process of its own, whose methods are called one at a time; jobs on several."""

from __future__ import annotations

import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any, TypeVar

from benchmarks.skeleton.program import BenchmarkError
from dspt.kit.cpus import THREAD_VARIABLES

Job = TypeVar("Job")


class Child:
    """Ends with the `with` block, even during a call, and with this process."""

    def __init__(self, name: str, make: Callable[..., Any], *arguments: Any) -> None:
        """`make` is called with these arguments in the process; both must be picklable."""
        context = get_context("spawn")  # torch does not survive a fork
        self._name = name
        self.pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make, arguments), daemon=True)
        with _without_interrupts():
            self._process.start()
        other.close()

    def ready(self) -> None:
        """Wait until the object is made. Raises BenchmarkError."""
        self.call("")

    def call(self, method: str, *arguments: Any) -> Any:
        """Return the result of a method of the object. Raises BenchmarkError."""
        self.start(method, *arguments)
        return self.result()

    def start(self, method: str, *arguments: Any) -> None:
        """Begin a call, whose `result` is ready when `pipe` is."""
        with suppress(ConnectionError):  # `result` raises it
            self.pipe.send((method, arguments))

    def result(self) -> Any:
        """Return the result of the call that was begun. Raises BenchmarkError."""
        try:
            failed, answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            status = f"{self._process.exitcode} (-9: out of memory)"
            raise BenchmarkError(
                f"{self._name}: its process ended with exit status {status}"
            ) from None
        if failed:
            raise BenchmarkError(f"{self._name}: {answer}")
        return answer

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.close()
        self._process.terminate()
        self._process.join()


def run_jobs(
    jobs: Iterable[Job],
    make: Callable[[], Callable[[Job], Any]],
    processes: int,
    *,
    done: Callable[[Job, Any], None],
    failed: Callable[[Job, str], None],
    may_start: Callable[[], bool] = lambda: True,
) -> None:
    """Run every job once, in processes that share the CPUs of this one.

    `make` is called in each of them and returns what runs a job. Calls `done` or `failed` in this
    process as each job ends. One that kills its process runs once more when the others have ended,
    alone: the memory may have been too small for all. Once `may_start()` is false no further job
    starts, and those that run finish. An error in this process stops them.
    """
    again = deque[Job]()
    for waiting, count in ((deque(jobs), processes), (again, 1)):
        with closing(_ended_jobs(waiting, make, count, may_start)) as ended:
            for child, job in ended:
                try:
                    result = child.result()
                except BenchmarkError as error:
                    if waiting is not again and not child.alive:
                        again.append(job)
                    else:
                        failed(job, str(error).strip())
                else:
                    done(job, result)


def _ended_jobs(
    waiting: deque[Job],
    make: Callable[[], Callable[[Job], Any]],
    processes: int,
    may_start: Callable[[], bool],
) -> Generator[tuple[Child, Job]]:
    """Run jobs; yield each that has ended, and the process whose `result` it is."""
    running = dict[Connection, tuple[Child, Job]]()
    with ExitStack() as stack, _threads_divided_by(processes):

        def new() -> Child:
            return stack.enter_context(Child("job", make))

        idle = [new() for _ in range(min(processes, len(waiting)))]
        while True:
            while idle and waiting and may_start():
                child, job = idle.pop(), waiting.popleft()
                child.start("__call__", job)
                running[child.pipe] = child, job
            if not running:
                return
            for pipe in wait(list(running)):
                child, job = running.pop(pipe)  # type: ignore[call-overload]
                yield child, job
                if child.alive:
                    idle.append(child)
                elif waiting and may_start():
                    idle.append(new())


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    made, failure = None, ""
    try:
        made = make(*arguments)
    except Exception:  # noqa: BLE001 - the parent raises it
        failure = traceback.format_exc()
    while True:
        try:
            method, given = pipe.recv()
        except EOFError:
            return
        answer: Any = None
        try:
            if method and not failure:
                answer = getattr(made, method)(*given)
            pipe.send((bool(failure), failure or answer))
        except Exception:  # noqa: BLE001 - the parent raises it
            pipe.send((True, traceback.format_exc()))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back; processes that start meanwhile never get it: their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _threads_divided_by(processes: int) -> Iterator[None]:
    """Give new processes their share of this process's threads (read when torch is imported)."""
    before = {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    os.environ |= {name: str(max(1, int(value) // processes)) for name, value in before.items()}
    try:
        yield
    finally:
        os.environ |= before
