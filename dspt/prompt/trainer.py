"""Tune prompts on cached features: SGD on the context vectors, several runs as one batch.

The recipe is CoOp's (Zhou et al., IJCV 2022): momentum 0.9, weight decay 5e-4, cosine decay by
epoch, one warm-up epoch at 1e-5. The runs (the classifier to serve, and one per cross-validation
fold) differ in training rows, loss and seed, and are independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dspt.backbones.base import CLIP_EMBEDDING_STD
from dspt.config import LossName
from dspt.errors import Cancelled
from dspt.kit.balance import class_weights
from dspt.kit.device import sent
from dspt.prompt.learner import PromptLearner
from dspt.prompt.step import Step

WARM_UP_LR = 1e-5
SMOOTHING = 1.0
"""Images added to each class before the classes are balanced: a class of one or two images does not
get all of its share."""
REPORTED_TOGETHER = 40
"""Epochs of which a GPU reports together: the program waits for it only then."""


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

    def lr_at(self, epoch: int, peak: float) -> float:
        """Learning rate of an epoch (from 0): one warm-up epoch, then half a cosine."""
        if epoch == 0 and self.epochs > 1:
            return WARM_UP_LR
        return 0.5 * peak * (1 + math.cos(math.pi * max(epoch - 1, 0) / self.epochs))


@dataclass(frozen=True)
class EpochReport:
    """Metrics of one epoch of the first run."""

    epoch: int
    """From 1."""
    loss: float
    """Mean over the epoch's samples, shifted to 0..1 where the loss is bounded."""
    train_accuracy: float
    """Against the recorded labels, some of which may be wrong."""
    suppressed: float
    """Share of samples whose gradient DSPT almost removes (see `step.SUPPRESSED_BELOW`)."""
    lr: float


@dataclass
class TunerState:
    """The state that an interrupted tuning continues from, with the same result.

    The order of the samples is drawn from (seed, epoch), so there is no random state to save.
    """

    epoch: int
    """Epochs done."""
    context: Tensor
    momentum: Tensor


def lr_scale_for(embedding_std: float) -> float:
    """Factor on the gradient that makes a learning rate equivalent on every backbone.

    A tower whose residual stream is k times as large computes the same function, but its gradient
    is k times smaller and its steps must be k times larger, so the rate grows with the variance of
    the token embeddings. The logit scale gets no factor, as it is part of the function: on the
    built-in backbone at 15, 30, 60 and 100, dividing by it never helped and cost 4 points at 60
    and 100 (two data sets, 25 % wrong labels).
    """
    return (embedding_std / CLIP_EMBEDDING_STD) ** 2


def tune_contexts(
    prompts: PromptLearner,
    features: Tensor,
    labels: Tensor,
    runs: Sequence[Run],
    schedule: Schedule,
    *,
    logit_scale: float,
    gradient_scale: float,
    autocast: torch.dtype | None = None,
    state: TunerState | None = None,
    on_epoch: Callable[[EpochReport, TunerState], None] = lambda report, state: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Tune one context per run and return them: (R, M, W), or (R, C, M, W) if class-specific.

    features: (N, V, D) unit length, V views of each image, of which a step draws one at random;
    labels: (N,).

    on_epoch: called for each epoch; on a GPU for several at once, with the state after
    the last of them. Raises Cancelled, between two steps, once `should_stop()` is true.
    """
    device = features.device
    if state is None:
        start = torch.stack([prompts.initial(run.seed) for run in runs]).to(device)
        state = TunerState(0, start, torch.zeros_like(start))
    batch = min(schedule.batch_size, max(len(run.rows) for run in runs))
    step = Step(
        state.context,
        state.momentum,
        features,
        labels,
        _balance(runs, labels),
        _group_by_loss(runs),
        batch,
        encode=prompts.encode,
        logit_scale=logit_scale,
        gradient_scale=gradient_scale,
        autocast=autocast,
    )
    block = 1 if device.type == "cpu" else REPORTED_TOGETHER
    captured = not torch.cuda.is_available() or device.type != "cuda"
    for first in range(state.epoch, schedule.epochs, block):
        epochs = range(first, min(first + block, schedule.epochs))
        rates = [[schedule.lr_at(epoch, run.lr) for run in runs] for epoch in epochs]
        lr = sent(torch.tensor(rates), device).view(
            len(epochs), len(runs), *[1] * (state.context.ndim - 1)
        )
        orders = [epoch_order(runs, batch, features.shape[1], epoch) for epoch in epochs]
        # (epochs, steps, R, B)
        rows, views = (sent(torch.stack(part), device) for part in zip(*orders, strict=True))
        metrics = step.metrics.new_empty(*rows.shape[:2], 3)
        for epoch in range(len(epochs)):
            for number in range(rows.shape[1]):
                if should_stop():
                    raise Cancelled("cancelled while tuning")
                step.load(rows[epoch, number], views[epoch, number], lr[epoch])
                if not captured:
                    captured = True
                    step.capture()
                step.run()
                metrics[epoch, number].copy_(step.metrics)
        state = TunerState(epochs.stop, step.context.clone(), step.momentum.clone())
        # The only place that waits for a GPU.
        for epoch, rate, measured in zip(epochs, rates, metrics.mean(1).tolist(), strict=True):
            loss, accuracy, suppressed = measured
            on_epoch(EpochReport(epoch + 1, loss, accuracy, suppressed, rate[0]), state)
    return state.context


def _balance(runs: Sequence[Run], labels: Tensor) -> Tensor:
    """(R, N): weights of each run's images, by the size of their classes."""
    on_cpu, weights = labels.cpu(), []
    for run in runs:
        mask = torch.zeros_like(on_cpu, dtype=torch.bool)
        mask[torch.from_numpy(run.rows)] = True
        weights.append(class_weights(on_cpu, mask, SMOOTHING))
    return torch.stack(weights).to(labels.device)


def _group_by_loss(runs: Sequence[Run]) -> list[tuple[LossName, slice | list[int]]]:
    groups: dict[LossName, list[int]] = {}
    for i, run in enumerate(runs):
        groups.setdefault(run.loss, []).append(i)
    if len(groups) == 1:
        return [(runs[0].loss, slice(None))]
    return list(groups.items())


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
