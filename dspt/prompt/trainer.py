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
from dspt.prompt.learner import PromptLearner
from dspt.prompt.losses import per_sample_loss, shift_to_unit, suppression

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARM_UP_LR = 1e-5
SMOOTHING = 1.0
"""Images added to each class before the classes are balanced: a class of one or two images does not
get all of its share."""
SUPPRESSED_BELOW = 0.1
"""A sample counts as suppressed when its DSPT gradient is under a tenth of cross-entropy's."""


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
    """Share of samples whose gradient DSPT almost removes (see SUPPRESSED_BELOW)."""
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
    labels: (N,). Raises Cancelled, between two steps, once `should_stop()` is true.
    """
    device = features.device
    if state is None:
        start = torch.stack([prompts.initial(run.seed) for run in runs]).to(device)
        state = TunerState(0, start, torch.zeros_like(start))
    by_loss = _group_by_loss(runs)
    n_classes = prompts.n_classes
    balance = torch.stack([_balance(run.rows, labels) for run in runs])
    while state.epoch < schedule.epochs:
        rates = [schedule.lr_at(state.epoch, run.lr) for run in runs]
        lr = torch.tensor(rates, device=device).view(-1, *[1] * (state.context.ndim - 1))
        rows, views = epoch_order(runs, schedule.batch_size, features.shape[1], state.epoch)
        meter = _Meter(runs[0].loss, n_classes)
        for step_rows, step_views in zip(rows.to(device), views.to(device), strict=True):
            if should_stop():
                raise Cancelled("cancelled while tuning")
            x, y = features[step_rows, step_views], labels[step_rows]
            weights = balance.gather(1, step_rows)
            context = state.context.requires_grad_(True)
            with torch.autocast(device.type, autocast, enabled=autocast is not None):
                classes = prompts.encode(context)
            logits = logit_scale * x @ classes.mT
            loss = torch.stack(
                [
                    (per_sample_loss(name, logits[i], y[i]) * weights[i]).mean(1).sum()
                    for name, i in by_loss
                ]
            ).sum()
            (gradient,) = torch.autograd.grad(loss, context)
            with torch.no_grad():
                update = gradient * gradient_scale + WEIGHT_DECAY * context
                state.momentum.mul_(MOMENTUM).add_(update)
                state.context = context.detach() - lr * state.momentum
            meter.add(logits[0].detach(), y[0])
        state.epoch += 1
        on_epoch(meter.report(state.epoch, rates[0]), state)
    return state.context.detach()


def _balance(rows: NDArray[np.int64], labels: Tensor) -> Tensor:
    """(N,): weights of a run's images, by the size of their classes."""
    mask = torch.zeros_like(labels, dtype=torch.bool)
    mask[torch.from_numpy(rows).to(labels.device)] = True
    return class_weights(labels, mask, SMOOTHING)


class _Meter:
    """Metrics of an epoch, kept on the device until its end."""

    def __init__(self, loss: LossName, n_classes: int) -> None:
        self._loss, self._n_classes = loss, n_classes
        self._parts: list[Tensor] = []

    def add(self, logits: Tensor, labels: Tensor) -> None:
        shifted = shift_to_unit(
            self._loss, per_sample_loss(self._loss, logits, labels), self._n_classes
        )
        right = (logits.argmax(-1) == labels).float()
        ignored = (suppression(logits, labels) < SUPPRESSED_BELOW).float()
        self._parts.append(torch.stack([shifted.mean(), right.mean(), ignored.mean()]))

    def report(self, epoch: int, lr: float) -> EpochReport:
        loss, accuracy, suppressed = torch.stack(self._parts).mean(0).tolist()
        return EpochReport(epoch, loss, accuracy, suppressed, lr)


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
