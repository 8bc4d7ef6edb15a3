"""TransCLIP-FS, which is transductive: it sees all test images at once, without their labels.

Zanella et al., "Boosting Vision-Language Models with Transduction", NeurIPS 2024: a Gaussian
mixture with one diagonal covariance, a Laplacian over the 3 nearest neighbours, and a penalty
towards zero-shot, by block updates. The weight gamma of the training images comes from validation
images there, through their nearest test image; here the noisy training images are used for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.noise_robustness.methods import Fitted, Task

GAMMAS = (0.002, 0.01, 0.02, 0.2)
LAMBDA, NEIGHBOURS, ROUNDS, STEPS, SHARPNESS = 0.5, 3, 10, 5, 50.0


def transclip(task: Task) -> Fitted:
    """Return a function that assigns all images that it is given together."""
    return Fitted(lambda images: assign(task, images), why="transductive")


@dataclass(frozen=True)
class _Graph:
    """Nearest neighbours among the test images, of the test and of the training images."""

    test: Tensor
    """(T, T) affinities, 0 except for the nearest."""
    train: Tensor
    """(N, T)"""

    @classmethod
    def of(cls, images: Tensor, train: Tensor) -> _Graph:
        own = (images @ images.T).fill_diagonal_(-torch.inf)
        return cls(_nearest(own), _nearest(train @ images.T))

    def votes(self, z: Tensor, one_hot: Tensor) -> Tensor:
        """Return (T, C): the neighbours' assignments, in both directions."""
        return self.test @ z + self.test.T @ z + self.train.T @ one_hot


def assign(task: Task, images: Tensor) -> Tensor:
    """Return (T, C), the assignments of all images under the gamma that fits the labels best."""
    train, given = task.features[:, 0], task.given
    one_hot = F.one_hot(given, task.n_classes).to(images)
    graph = _Graph.of(images, train)
    nearest = (train @ images.T).argmax(1)
    found = [_solve(task, images, one_hot, graph, gamma) for gamma in GAMMAS]
    right = [int((z[nearest].argmax(1) == given).sum()) for z in found]
    return found[right.index(max(right))]


def _solve(task: Task, images: Tensor, one_hot: Tensor, graph: _Graph, gamma: float) -> Tensor:
    """Return (T, C) after ROUNDS updates of assignments, means and variances."""
    train = task.features[:, 0]
    prior = (task.logit_scale * images @ task.zero_shot.T).softmax(1)
    z = prior
    means = F.normalize(one_hot.T @ train, dim=1)
    variance = images.new_full((images.shape[1],), 1 / images.shape[1])
    each, weight = 1 / len(images), gamma * SHARPNESS / len(train)
    for done in range(ROUNDS + 1):
        z = _assignments(z, prior, _log_density(images, means, variance), graph, one_hot)
        if done == ROUNDS:
            break
        mass = each * z.sum(0) + weight * one_hot.sum(0)
        sums = each * z.T @ images + weight * one_hot.T @ train
        means = F.normalize(sums / mass.clamp_min(1e-12)[:, None], dim=1)
        squares = each * z.sum(1) @ images.square() + weight * train.square().sum(0)
        spread = squares - (2 * sums * means).sum(0) + mass @ means.square()
        variance = (spread / mass.sum()).clamp_min(1e-8)
    return z


def _assignments(
    z: Tensor, prior: Tensor, density: Tensor, graph: _Graph, one_hot: Tensor
) -> Tensor:
    for _ in range(STEPS):
        votes = graph.votes(z, one_hot) / (2 * NEIGHBOURS)
        z = (LAMBDA * prior.clamp_min(1e-30).log() + density / SHARPNESS + votes).softmax(1)
    return z


def _log_density(images: Tensor, means: Tensor, variance: Tensor) -> Tensor:
    """Return (T, C): -1/2 of the squared distances, divided by the variance of each dimension."""
    scaled = means / variance
    distance = (images.square() @ (1 / variance))[:, None] - 2 * images @ scaled.T
    return -0.5 * (distance + (means * scaled).sum(1))


def _nearest(affinity: Tensor) -> Tensor:
    """Return the affinities with all but the NEIGHBOURS largest of each row set to 0."""
    best = affinity.topk(min(NEIGHBOURS, affinity.shape[1] - 1), dim=1)
    return torch.zeros_like(affinity).scatter(1, best.indices, best.values)
