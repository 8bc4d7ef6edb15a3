"""One step of the tuning on fixed tensors, so that a GPU can replay it as one CUDA graph.

A step has some 1,200 kernels of static shapes, and to launch them one by one takes many times as
long as to run them. A graph is launched as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dspt.config import LossName
from dspt.prompt.losses import per_sample_loss, shift_to_unit, suppression

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
SUPPRESSED_BELOW = 0.1
"""A sample counts as suppressed when its DSPT gradient is under a tenth of cross-entropy's."""
_WARM_UPS = 3
"""Steps before a capture, which choose algorithms and allocate memory."""
_MAX_DIFFERENCE = 1e-2
"""Largest accepted difference of the update by a replayed step, relative to its norm."""

ByLoss = Sequence[tuple[LossName, slice | list[int]]]


class Step:
    """SGD on the contexts of all runs, in place, from the samples that `load` has set.

    context, momentum: (R, ...); balance: (R, N) weights of the images; batch: B, the samples of a
    step; encode: contexts to class embeddings (R, C, D), differentiable; drawn: how many classes of
    each of the `length_groups` a step encodes. Default: all.
    """

    def __init__(
        self,
        context: Tensor,
        momentum: Tensor,
        features: Tensor,
        labels: Tensor,
        balance: Tensor,
        by_loss: ByLoss,
        batch: int,
        *,
        encode: Callable[[Tensor, Sequence[Tensor] | None], Tensor],
        drawn: Sequence[int] | None = None,
        n_classes: int,
        logit_scale: float,
        gradient_scale: float,
        autocast: torch.dtype | None,
    ) -> None:
        self.context, self.momentum = context.detach().clone(), momentum.detach().clone()
        self.metrics = context.new_zeros(3)
        """(3,) of the last step's samples of the first run: loss, share right, share suppressed."""
        self._features, self._labels, self._balance = features, labels, balance
        self._by_loss, self._encode = by_loss, encode
        self._logit_scale, self._gradient_scale = logit_scale, gradient_scale
        self._autocast = autocast
        runs, device = len(context), context.device
        self._rows = torch.zeros(runs, batch, dtype=torch.int64, device=device)
        self._views = torch.zeros_like(self._rows)
        self._lr = context.new_zeros(runs, *[1] * (context.ndim - 1))
        self._drawn, self._n_classes = drawn and list(drawn), n_classes
        self._classes = torch.zeros(sum(drawn or ()), dtype=torch.int64, device=device)
        self._replay: Callable[[], None] | None = None

    def load(self, rows: Tensor, views: Tensor, lr: Tensor, classes: Tensor | None = None) -> None:
        """Set the samples (R, B), their views, and the learning rates (R, 1, ...).

        classes: (K,), by length group, to encode. Needed unless a step encodes all.
        """
        if classes is not None:
            self._classes.copy_(classes)
        self._rows.copy_(rows)
        self._views.copy_(views)
        self._lr.copy_(lr)

    def run(self) -> None:
        """Make a step: replay the graph if there is one."""
        if self._replay is not None:
            self._replay()
        else:
            self._run()

    def capture(self) -> bool:
        """Capture the step as a CUDA graph; return whether it gives the same update as before.

        Otherwise the step is not replayed. The state is left as it was. Needs samples from `load`.
        """
        before = self.context.clone(), self.momentum.clone()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._run()
        torch.cuda.current_stream().wait_stream(stream)
        self._restore(before)
        self._run()
        expected = self.context - before[0]
        self._restore(before)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._run()
        except RuntimeError:  # an operation that cannot be captured
            self._restore(before)
            return False
        graph.replay()
        same = _same(self.context - before[0], expected)
        self._restore(before)
        if same:
            self._replay = graph.replay
        return same

    def _restore(self, state: tuple[Tensor, Tensor]) -> None:
        self.context.copy_(state[0])
        self.momentum.copy_(state[1])

    def _run(self) -> None:
        x = self._features[self._rows, self._views]
        y = self._labels[self._rows]
        weights, classes = self._balance.gather(1, self._rows), None
        if self._drawn is not None:
            y, weights = self._among_drawn(y, weights)
            classes = self._classes.split_with_sizes(self._drawn)
        context = self.context.detach().requires_grad_(True)
        device = context.device.type
        # A cast that is cached outside of a graph would be missing in it.
        cache = False if device == "cuda" else None
        with torch.autocast(
            device, self._autocast, enabled=self._autocast is not None, cache_enabled=cache
        ):
            embeddings = self._encode(context, classes)
        logits = self._logit_scale * x @ embeddings.mT
        loss = torch.stack(
            [
                (per_sample_loss(name, logits[i], y[i]) * weights[i]).mean(1).sum()
                for name, i in self._by_loss
            ]
        ).sum()
        (gradient,) = torch.autograd.grad(loss, context)
        with torch.no_grad():
            update = gradient * self._gradient_scale + WEIGHT_DECAY * self.context
            self.momentum.mul_(MOMENTUM).add_(update)
            self.context.sub_(self._lr * self.momentum)
            measured = self._measured(logits[0].detach(), y[0])
            if self._drawn is None:
                self.metrics.copy_(measured.mean(1))
            else:  # NaN if no sample is of the drawn classes
                shown = weights[0] > 0
                self.metrics.copy_(measured.where(shown, 0).sum(1) / shown.sum())

    def _among_drawn(self, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the positions of labels (R, B) among the drawn classes, and weights of mean 1.

        A sample of another class has position and weight 0.
        """
        number = torch.arange(len(self._classes), device=labels.device)
        position = labels.new_full((self._n_classes,), -1).scatter(0, self._classes, number)[labels]
        weights = weights * (position >= 0)
        mean = weights.mean(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        return position.clamp(min=0), weights / mean

    def _measured(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return loss, correctness and suppression of each sample: (3, B)."""
        name = self._by_loss[0][0]  # the first group has the first run
        loss = shift_to_unit(name, per_sample_loss(name, logits, labels), logits.shape[-1])
        right = (logits.argmax(-1) == labels).float()
        ignored = (suppression(logits, labels) < SUPPRESSED_BELOW).float()
        return torch.stack([loss, right, ignored])


def _same(found: Tensor, expected: Tensor) -> bool:
    difference = (found - expected).norm()
    return bool(difference <= _MAX_DIFFERENCE * expected.norm())  # NaN is not
