"""Weights with which small classes count as much as large ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # reports read the constant without torch
    from torch import Tensor

FAR_SMALLER = 5
"""A class is far smaller if the largest class has at least this many times its images. Wrong labels
alone cause smaller differences; weights for these made the fit worse, not better."""


def class_weights(labels: Tensor, rows: Tensor, smoothing: float) -> Tensor:
    """Return the weight of each image, (N,), with mean 1 over `rows`.

    labels: (N,); rows: (N,) bool, the images that are counted; smoothing: images that are added to
    each class. With 0, all classes have the same total weight; with more, a class has the less the
    fewer images it has. All weights are 1 if no class is far smaller than another.
    """
    device, labels, rows = labels.device, labels.cpu(), rows.cpu()  # not to wait at each operation
    counts = labels[rows].bincount(minlength=int(labels.max()) + 1 if len(labels) else 0)
    found = counts[counts > 0]
    if not len(found) or found.max() < FAR_SMALLER * found.min():
        return labels.new_ones(len(labels)).float().to(device)
    weights = (1 / (counts.double() + smoothing))[labels]
    return (weights / weights[rows].mean()).float().to(device)
