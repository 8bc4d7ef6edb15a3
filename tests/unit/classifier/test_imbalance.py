"""Classes with far fewer images than others are still found."""

from __future__ import annotations

import pytest
import torch
from gaussians import SCALE, Task, averaged, blended, task
from torch.nn import functional as F

from dspt.classifier.lda import ShrunkLDA
from dspt.classifier.linear import LinearClassifier
from dspt.classifier.weights import SMOOTHING
from dspt.kit.balance import class_weights

SEEDS = range(3)


def uneven(seed: int, *sizes: int) -> tuple[Task, torch.Tensor]:
    """A task, and a mask that leaves so many images of each class."""
    of = task(seed, n_classes=len(sizes))
    rank = torch.arange(len(of.labels)) % 30
    return of, rank < torch.tensor(sizes)[of.labels]


def recalls(of: Task, classifier: LinearClassifier) -> list[float]:
    right = (classifier.logits(of.test).argmax(1) == of.test_truth).float()
    return [float(right[of.test_truth == c].mean()) for c in range(len(of.zero_shot))]


def class_means(of: Task, fit: torch.Tensor) -> LinearClassifier:
    """The nearest class mean by cosine."""
    weights = F.one_hot(of.labels[fit], len(of.zero_shot)).float()
    means = F.normalize(weights.T @ of.features[fit], dim=1)
    return LinearClassifier(means, torch.zeros(len(means)))


def measured(*sizes: int) -> list[float]:
    """Recall of the small classes and balanced accuracy: of the ensemble, and of its best part."""

    def measure(seed: int) -> list[float]:
        of, fit = uneven(seed, *sizes)
        parts = [class_means(of, fit), *(LinearClassifier.from_text(t, SCALE) for t in texts(of))]
        found = []
        for classifier in (blended(of, fit).classifier, *parts):
            of_class = recalls(of, classifier)
            small = [recall for recall, size in zip(of_class, sizes, strict=True) if size < 24]
            found += [sum(small) / len(small), sum(of_class) / len(of_class)]
        return found

    small, balanced, *rest = averaged(measure, SEEDS)
    return [small, max(rest[::2]), balanced, max(rest[1::2])]


def texts(of: Task) -> list[torch.Tensor]:
    return [of.zero_shot, of.prompts[0]]


@pytest.mark.parametrize("sizes", [(24, 1), (24, 2), (24, 3), (24, 24, 24, 24, 2, 2)])
def test_small_classes_are_found_as_well_as_by_the_best_part(sizes: tuple[int, ...]) -> None:
    small, small_of_best, balanced, balanced_of_best = measured(*sizes)
    assert small > small_of_best - 0.01
    assert balanced > balanced_of_best


def test_a_plain_centre_would_cost_a_class() -> None:
    """The boundary of two classes goes through the centre, so this must not lie in one of them."""

    def measure(seed: int) -> list[float]:
        of, fit = uneven(seed, 24, 2)
        found = []
        for weights in (class_weights(of.labels, fit, SMOOTHING), None):
            lda = ShrunkLDA.of(of.features, fit, weights)
            directions = lda.directions(fit, F.one_hot(of.labels, 2).float())
            found.append(min(recalls(of, lda.classifier(directions))))
        return found

    weighted, plain = averaged(measure, SEEDS)
    assert weighted > plain + 0.05


def test_images_of_one_class_alone_are_no_evidence() -> None:
    """A single image of the other class cannot be held out: nothing is fitted."""
    of, fit = uneven(1, 24, 1)
    found = blended(of, fit)
    assert not found.scored.any()
    assert torch.equal(found.posterior.argmax(1), of.labels)
