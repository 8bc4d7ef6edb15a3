"""Made-up images of known classes, and text classifiers that err by a known amount."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from dspt.classifier.ensemble import Ensemble, TextClassifier, fit_ensemble
from dspt.classifier.linear import LinearClassifier

SCALE = 30.0
DIM = 32


@dataclass(frozen=True)
class Task:
    """Training and test images around class centres, zero-shot and a tuned prompt."""

    features: Tensor
    """(N, DIM), unit length; class after class. See also `with_penultimate`."""
    truth: Tensor
    labels: Tensor
    """Labels, of which a share is wrong."""
    test: Tensor
    test_truth: Tensor
    zero_shot: Tensor
    """(C, DIM) class embeddings."""
    prompts: Tensor
    """(1 + folds, C, DIM): to be served, and one per fold."""
    folds: tuple[Tensor, ...]

    @property
    def texts(self) -> list[TextClassifier]:
        """Zero-shot, and the prompt judged out of its folds."""
        embeddings = self.features[:, : self.zero_shot.shape[1]]
        held_out = torch.empty(len(embeddings), len(self.zero_shot))
        for fold, prompt in zip(self.folds, self.prompts[1:], strict=True):
            held_out[fold] = SCALE * embeddings[fold] @ prompt.T
        return [
            TextClassifier(SCALE * self.zero_shot, SCALE * embeddings @ self.zero_shot.T),
            TextClassifier(SCALE * self.prompts[0], held_out),
        ]

    def accuracy(self, classifier: LinearClassifier | Tensor) -> float:
        """On the test images. classifier: or class embeddings (C, DIM)."""
        if isinstance(classifier, Tensor):
            classifier = LinearClassifier.from_text(classifier, SCALE)
        right = classifier.logits(self.test).argmax(1) == self.test_truth
        return float(right.float().mean())


def task(
    seed: int,
    *,
    n_classes: int = 5,
    per_class: int = 30,
    rate: float = 0.0,
    swapped: bool = False,
    spread: float = 0.35,
    zero_shot_error: float = 1.0,
    prompt_error: float | None = 0.8,
) -> Task:
    """A task with a share of `rate` wrong labels.

    swapped: all wrong labels of a class name the next one; else any other. spread: deviation of
    the images in each dimension around centres of length 1. zero_shot_error, prompt_error: length
    of what is added to the class centres to make embeddings; None for a prompt that is drawn half
    to the means of the given labels, as tuning with cross-entropy would.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    centres = F.normalize(draw(n_classes, DIM), dim=1)

    def images(per_class: int) -> tuple[Tensor, Tensor]:
        classes = torch.arange(n_classes).repeat_interleave(per_class)
        return F.normalize(centres[classes] + spread * draw(len(classes), DIM), dim=1), classes

    def text(error: float) -> Tensor:
        return F.normalize(centres + error * F.normalize(draw(n_classes, DIM), dim=1), dim=1)

    features, truth = images(per_class)
    test, test_truth = images(200)
    labels = truth.clone()
    for c in range(n_classes):
        rows = (truth == c).nonzero()[:, 0][torch.randperm(per_class, generator=generator)]
        wrong = rows[: round(rate * per_class)]
        step = torch.randint(1, n_classes, (len(wrong),), generator=generator)
        labels[wrong] = (c + (1 if swapped else step)) % n_classes
    zero_shot = text(zero_shot_error)
    folds = tuple(torch.arange(i, len(truth), 4) for i in range(4))

    def prompt(without: Tensor) -> Tensor:
        if prompt_error is not None:
            return text(prompt_error)
        rows = torch.ones_like(truth, dtype=torch.bool)
        rows[without] = False
        weights = F.one_hot(labels[rows], n_classes).float()
        means = F.normalize(weights.T @ features[rows], dim=1)
        return F.normalize(zero_shot / 2 + means, dim=1)

    prompts = torch.stack([prompt(without) for without in (folds[0][:0], *folds)])
    return Task(features, truth, labels, test, test_truth, zero_shot, prompts, folds)


def with_penultimate(of: Task, dim: int, spread: float, seed: int = 1) -> Task:
    """The task with further features (N, dim), whose deviation around class centres is `spread`."""
    generator = torch.Generator().manual_seed(seed)
    centres = F.normalize(torch.randn(len(of.zero_shot), dim, generator=generator), dim=1)

    def more(embeddings: Tensor, truth: Tensor) -> Tensor:
        noise = spread * torch.randn(len(truth), dim, generator=generator)
        return torch.cat([embeddings, F.normalize(centres[truth] + noise, dim=1)], dim=1)

    features, test = more(of.features, of.truth), more(of.test, of.test_truth)
    return replace(of, features=features, test=test)


def averaged(measure: Callable[[int], list[float]], seeds: range) -> list[float]:
    """Means over the seeds of what is measured."""
    found: list[float] = torch.tensor([measure(seed) for seed in seeds]).mean(0).tolist()
    return found


def blended(of: Task, fit: Tensor | None = None) -> Ensemble:
    return fit_ensemble(of.features, of.labels, of.texts, of.folds, fit)
