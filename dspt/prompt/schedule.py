"""What a tuning does: its runs, their learning rates, and what each step shows.

The order of the samples is drawn from (seed, epoch): an interrupted tuning has no random state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dspt.config import LossName
from dspt.prompt.class_draw import ClassDraw
from dspt.prompt.learner import PromptLearner

WARM_UP_LR = 1e-5


@dataclass(frozen=True)
class Run:
    """One context to tune: rows of the features, loss, learning rate and seed."""

    rows: NDArray[np.int64]
    loss: LossName
    lr: float
    """Peak learning rate."""
    seed: int


@dataclass(frozen=True)
class Schedule:
    """Number of epochs, batch size and learning rate schedule."""

    epochs: int
    batch_size: int
    step_classes: int | None = None
    """Approximate number of classes per step. Used if there are more than twice as many; otherwise,
    and by default, a step encodes all."""

    def lr_at(self, epoch: int, peak: float) -> float:
        """Learning rate of an epoch (from 0): one warm-up epoch, then half a cosine."""
        if epoch == 0 and self.epochs > 1:
            return WARM_UP_LR
        return 0.5 * peak * (1 + math.cos(math.pi * max(epoch - 1, 0) / self.epochs))


@dataclass(frozen=True)
class Order:
    """What each step of an epoch shows."""

    batch: int
    drawn: Sequence[int] | None
    """Classes of each of the `length_groups` that a step encodes; None: all classes."""
    of_epoch: Callable[[int], tuple[Tensor, ...]]
    """Rows and views, as `epoch_order`, and classes, as `drawn_order`, if they are drawn."""


def plan_order(
    prompts: PromptLearner, runs: Sequence[Run], schedule: Schedule, n_views: int, labels: Tensor
) -> Order:
    """Plan what each step of an epoch shows.

    Where there are more than twice `schedule.step_classes` classes, a pass over them takes several
    steps, and an epoch has as many passes as its images fill. Raises ValueError for a run without
    rows.
    """
    if not all(len(run.rows) for run in runs):
        raise ValueError("a run has no rows to tune on")
    images, most = max(len(run.rows) for run in runs), schedule.step_classes
    batch = min(schedule.batch_size, images)
    if most is None or prompts.n_classes <= 2 * most:
        return Order(batch, None, lambda epoch: epoch_order(runs, batch, n_views, epoch))
    draw = ClassDraw(prompts, most, runs[0].seed)
    passes = math.ceil(images / schedule.batch_size / draw.steps)
    given = labels.cpu().numpy()
    return Order(
        batch,
        draw.sizes,
        lambda epoch: drawn_order(runs, batch, passes, n_views, epoch, draw, given),
    )


def epoch_order(
    runs: Sequence[Run], batch_size: int, n_views: int, epoch: int
) -> tuple[Tensor, Tensor]:
    """Rows and views of one epoch: two (steps, R, B) int64 tensors.

    The largest run sets the number of steps and the batch size; a smaller run repeats its
    permutation to fill its batches. Raises ValueError for a run without rows.
    """
    sizes = [len(run.rows) for run in runs]
    if not min(sizes):
        raise ValueError("a run has no rows to tune on")
    batch = min(batch_size, max(sizes))
    steps = math.ceil(max(sizes) / batch)
    rows = np.empty((len(runs), steps * batch), dtype=np.int64)
    views = np.empty_like(rows)
    for i, run in enumerate(runs):
        rng = np.random.default_rng((run.seed, epoch))
        rows[i] = np.resize(rng.permutation(run.rows), steps * batch)
        views[i] = rng.integers(n_views, size=steps * batch)

    def by_step(order: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(order).view(len(runs), steps, batch).transpose(0, 1).contiguous()

    return by_step(rows), by_step(views)


def drawn_order(
    runs: Sequence[Run],
    batch: int,
    passes: int,
    n_views: int,
    epoch: int,
    draw: ClassDraw,
    labels: NDArray[np.int64],
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, views and classes of one epoch: (steps, R, B), (steps, R, B) and (steps, K), int64.

    Each pass divides the classes anew, and its steps show a share of the images, each with its
    class. A class that several steps of a pass encode is shown in the last. Steps whose classes
    have fewer images than a batch repeat them; of more, an epoch leaves some out.
    """
    rng = np.random.default_rng((runs[0].seed, epoch))
    classes = np.concatenate([draw.draw(rng) for _ in range(passes)])
    step_of = np.empty((passes, draw.n_classes), dtype=np.int64)
    for number, drawn in enumerate(classes):
        step_of[number // draw.steps, drawn] = number
    rows = np.empty((len(classes), len(runs), batch), dtype=np.int64)
    views = np.empty_like(rows)
    for i, run in enumerate(runs):
        rng = np.random.default_rng((run.seed, epoch))
        order = rng.permutation(run.rows)
        number = step_of[np.arange(len(order)) % passes, labels[order]]
        for step in range(len(classes)):
            mine = order[number == step]
            # Images of other classes have no weight.
            rows[step, i] = np.resize(mine if len(mine) else order, batch)
        views[:, i] = rng.integers(n_views, size=(len(classes), batch))
    return torch.from_numpy(rows), torch.from_numpy(views), torch.from_numpy(classes)
