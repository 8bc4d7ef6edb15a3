"""Runs a trainer in its own process, so that its memory can be measured."""

from __future__ import annotations

import logging
import resource
import sys
import traceback
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from benchmarks.skeleton.program import BenchmarkError
from benchmarks.tuning_speed.setup import Case

Kind = Literal["plain", "ours", "growth"]


class WorkerError(BenchmarkError):
    """A trainer failed; the message says which one and why."""


@dataclass(frozen=True)
class Memory:
    """Bytes."""

    model: int
    """Before the first step: model, features and libraries (on a GPU: what is allocated)."""
    peak: int
    """Peak so far."""

    @property
    def beyond(self) -> int:
        """Return the memory of tuning without that of the model."""
        return max(0, self.peak - self.model)


class Worker:
    """A process with one trainer; ends with the `with` block."""

    def __init__(self, kind: Kind, case: Case) -> None:
        self._name = f"{kind} trainer, {case.backbone}, {case.classes} classes, {case.precision}"
        context = get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(kind, case, other), daemon=True)
        self._process.start()
        other.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def ready(self) -> None:
        """Wait until the trainer is ready."""
        self.call("")

    def memory(self) -> Memory:
        return Memory(*self.call("memory"))

    def call(self, method: str, *arguments: Any) -> Any:
        """Return the result of a method of the trainer. Raises WorkerError."""
        try:
            self._pipe.send((method, arguments))
            failed, answer = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join()
            raise WorkerError(
                f"{self._name}: its process died with exit status {self._process.exitcode} "
                "(-9: out of memory)"
            ) from None
        if failed:
            raise WorkerError(f"{self._name}: {answer}")
        return answer


def _serve(kind: Kind, case: Case, pipe: Connection) -> None:
    logging.disable(logging.WARNING)  # open_clip's, that the weights are random
    try:
        trainer = _trainer(kind, case)
        model = _resident(case.device)
        while True:
            method, arguments = pipe.recv()
            answer: Any = None
            if method == "memory":
                answer = (model, _peak(case.device))
            elif method:
                answer = getattr(trainer, method)(*arguments)
            pipe.send((False, answer))
    except (EOFError, KeyboardInterrupt):
        return
    except Exception:  # noqa: BLE001 - the parent reports it
        pipe.send((True, traceback.format_exc()))


def _trainer(kind: Kind, case: Case) -> Any:
    if kind == "plain":
        from benchmarks.tuning_speed.plain import PlainTrainer

        return PlainTrainer(case)
    if kind == "growth":
        from benchmarks.tuning_speed.growth import Growth

        return Growth(case)
    from benchmarks.tuning_speed.ours import OurTrainer

    return OurTrainer(case)


def _resident(device: str) -> int:
    """Return the bytes in use now, or the peak if the system does not report it."""
    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return _peak(device)
    return pages * resource.getpagesize()


def _peak(device: str) -> int:
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
