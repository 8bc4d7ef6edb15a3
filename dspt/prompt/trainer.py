"""Tune prompts on cached features: SGD on the context vectors, several runs as one batch.

The recipe is CoOp's (Zhou et al., IJCV 2022): momentum 0.9, weight decay 5e-4, cosine decay by
epoch, one warm-up epoch at 1e-5. The runs (the classifier to serve, and one per cross-validation
fold) differ in training rows, loss and seed, and are independent of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from dspt.backbones.base import CLIP_EMBEDDING_STD
from dspt.config import LossName
from dspt.errors import Cancelled
from dspt.kit.balance import class_weights
from dspt.kit.device import sent
from dspt.prompt.learner import PromptLearner
from dspt.prompt.schedule import Order, Run, Schedule, plan_order
from dspt.prompt.side_by_side import SideBySide
from dspt.prompt.step import Step

SMOOTHING = 1.0
"""Images added to each class before the classes are balanced: a class of one or two images does not
get all of its share."""
REPORTED_TOGETHER = 40
"""Epochs of which a GPU reports together: the program waits for it only then."""


@dataclass(frozen=True)
class EpochReport:
    """Metrics of one epoch of the first run."""

    epoch: int
    """From 1."""
    loss: float
    """Mean over the epoch's samples, shifted to 0..1 where the loss is bounded."""
    train_accuracy: float
    """Against the recorded labels, some of which may be wrong; among the classes that the step of
    the sample encodes."""
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
    order = plan_order(prompts, runs, schedule, features.shape[1], labels)
    begun = state

    def step_of(part: slice) -> Step:
        return Step(
            begun.context[part],
            begun.momentum[part],
            features,
            labels,
            _balance(runs[part], labels),
            _group_by_loss(runs[part]),
            order.batch,
            encode=prompts.encode,
            drawn=order.drawn,
            n_classes=prompts.n_classes,
            logit_scale=logit_scale,
            gradient_scale=gradient_scale,
            autocast=autocast,
        )

    with ExitStack() as cleanup:
        step: Step | SideBySide
        if order.drawn is not None and device.type == "cpu" and len(runs) > 1:
            step = cleanup.enter_context(SideBySide(runs, step_of))
        else:
            step = step_of(slice(None))
        return _tuned(step, runs, schedule, order, state, on_epoch, should_stop)


def _tuned(
    step: Step | SideBySide,
    runs: Sequence[Run],
    schedule: Schedule,
    order: Order,
    state: TunerState,
    on_epoch: Callable[[EpochReport, TunerState], None],
    should_stop: Callable[[], bool],
) -> Tensor:
    device = state.context.device
    block = 1 if device.type == "cpu" else REPORTED_TOGETHER
    captured = not torch.cuda.is_available() or device.type != "cuda"
    for first in range(state.epoch, schedule.epochs, block):
        epochs = range(first, min(first + block, schedule.epochs))
        rates = [[schedule.lr_at(epoch, run.lr) for run in runs] for epoch in epochs]
        lr = sent(torch.tensor(rates), device).view(
            len(epochs), len(runs), *[1] * (state.context.ndim - 1)
        )
        orders = [order.of_epoch(epoch) for epoch in epochs]
        # (epochs, steps, R, B), and (epochs, steps, K)
        rows, views, *classes = (
            sent(torch.stack(part), device) for part in zip(*orders, strict=True)
        )
        metrics = step.metrics.new_empty(*rows.shape[:2], 3)
        for epoch in range(len(epochs)):
            for number in range(rows.shape[1]):
                if should_stop():
                    raise Cancelled("cancelled while tuning")
                drawn = [part[epoch, number] for part in classes]
                step.load(rows[epoch, number], views[epoch, number], lr[epoch], *drawn)
                if not captured and isinstance(step, Step):
                    captured = True
                    step.capture()
                step.run()
                metrics[epoch, number].copy_(step.metrics)
        state = TunerState(epochs.stop, step.context.clone(), step.momentum.clone())
        # The only place that waits for a GPU.
        for epoch, rate, measured in zip(epochs, rates, metrics.nanmean(1).tolist(), strict=True):
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
