"""The runs of a tuning in two parts, each of which makes its steps on its share of the CPUs.

A step of few classes has a thousand small operations. Threads that share each of them wait for one
another after each, and keep 1.3 of two CPUs busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import torch
from torch import Tensor

from dspt.kit.memory import trim
from dspt.prompt.schedule import Run
from dspt.prompt.step import Step

PARTS = 2
"""Not the number of CPUs, on which results would then depend."""


class SideBySide:
    """Steps of all runs; what the trainer uses of a `Step` on a CPU. A context manager."""

    def __init__(self, runs: Sequence[Run], step_of: Callable[[slice], Step]) -> None:
        """step_of: makes the step of some of the runs."""
        middle = -(-len(runs) // PARTS)
        self._parts = [slice(0, middle), slice(middle, len(runs))]
        self._steps = [step_of(part) for part in self._parts]
        self._cpus = torch.get_num_threads()
        share = max(1, self._cpus // PARTS)
        self._threads = ThreadPoolExecutor(
            PARTS, "tuning", initializer=torch.set_num_threads, initargs=(share,)
        )

    def __enter__(self) -> SideBySide:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown()
        trim()  # each thread had memory of its own, which the next stage would not use
        torch.set_num_threads(self._cpus)  # else threads that start later have a share, too

    @property
    def context(self) -> Tensor:
        """(R, ...)."""
        return torch.cat([step.context for step in self._steps])

    @property
    def momentum(self) -> Tensor:
        """(R, ...)."""
        return torch.cat([step.momentum for step in self._steps])

    @property
    def metrics(self) -> Tensor:
        """(3,) as of a `Step`."""
        return self._steps[0].metrics

    def load(self, rows: Tensor, views: Tensor, lr: Tensor, classes: Tensor | None = None) -> None:
        """Set the samples of all runs, as of a `Step`."""
        for step, part in zip(self._steps, self._parts, strict=True):
            step.load(rows[part], views[part], lr[part], classes)

    def run(self) -> None:
        """Make a step of each run."""
        for made in [self._threads.submit(step.run) for step in self._steps]:
            made.result()
