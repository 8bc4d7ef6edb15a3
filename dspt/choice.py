"""Which classifier to serve: the tuned one, unless zero-shot does better out of sample."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Served = Literal["tuned", "zero_shot"]


def choose_served(tuned: Tensor, zero_shot: Tensor, given: Tensor) -> tuple[Served, str]:
    """Compare how often each agrees with labels that it was not tuned on.

    Wrong labels that fall evenly on the classes lower both agreements by the same factor, so their
    order stays that of the accuracies. tuned: (N, C) out-of-sample probabilities of models tuned
    with the loss of the classifier to be served; zero_shot: (N, C); given: (N,). Returns the choice
    and a sentence with the figures.
    """
    agrees = [(p.argmax(1) == given).float().mean().item() for p in (tuned, zero_shot)]
    figures = (
        f"on {len(given)} training images, each judged by a model not tuned on it, tuning agrees "
        f"with {agrees[0]:.1%} of the given labels and zero-shot with {agrees[1]:.1%}"
    )
    if agrees[0] >= agrees[1]:
        return "tuned", f"Tuned: {figures}."
    return "zero_shot", f"Zero-shot: {figures}, so tuning would not help."
