"""Photos without labels move the class means, where labelled images show that this helps."""

from __future__ import annotations

import dataclasses

import torch
from gaussians import Task, averaged, task, with_penultimate

from dspt.classifier.ensemble import Ensemble, fit_ensemble

SEEDS = range(3)


def split(of: Task) -> tuple[Task, torch.Tensor]:
    """The task measured on half of its test images, and the others."""
    rows = torch.arange(len(of.test)) % 2 == 0
    return dataclasses.replace(of, test=of.test[rows], test_truth=of.test_truth[rows]), of.test[
        ~rows
    ]


def fitted(of: Task, photos: torch.Tensor | None) -> Ensemble:
    return fit_ensemble(of.features, of.labels, of.texts, of.folds, unlabelled=photos)


def few(seed: int, rate: float = 0.0) -> tuple[Task, torch.Tensor]:
    return split(with_penultimate(task(seed, per_class=4, rate=rate), 64, 0.3, seed))


def test_the_classifier_is_better_with_them() -> None:
    for rate in (0.0, 0.25):

        def measure(seed: int, rate: float = rate) -> list[float]:
            of, photos = few(seed, rate)
            found = fitted(of, photos)
            before = found.labelled_only or found.classifier
            return [of.accuracy(before), of.accuracy(found.classifier)]

        before, after = averaged(measure, SEEDS)
        assert after > before + 0.01


def test_everything_else_rests_on_the_labelled_images() -> None:
    of, photos = few(1, 0.25)
    without, found = fitted(of, None), fitted(of, photos)
    assert without.labelled_only is None
    assert found.labelled_only is not None
    torch.testing.assert_close(found.labelled_only.matrix, without.classifier.matrix)
    for name in ("log_p", "posterior", "averaged_posterior", "noise", "scored"):
        torch.testing.assert_close(getattr(found, name), getattr(without, name))
    assert (found.log_likelihood, found.weights) == (without.log_likelihood, without.weights)


def test_photos_of_nothing_do_not_move_the_classifier_far() -> None:
    def measure(seed: int) -> list[float]:
        of, photos = few(seed)
        noise = torch.randn(photos.shape, generator=torch.Generator().manual_seed(seed))
        noise /= noise.norm(dim=1, keepdim=True)
        return [of.accuracy(fitted(of, None).classifier), of.accuracy(fitted(of, noise).classifier)]

    before, after = averaged(measure, SEEDS)
    assert after > before - 0.004  # always used, they would cost 0.007


def test_without_held_out_evidence_they_are_not_used() -> None:
    of, photos = split(task(1, per_class=1))
    found = fitted(of, photos)
    assert found.labelled_only is None
    torch.testing.assert_close(found.classifier.matrix, fitted(of, None).classifier.matrix)
    assert fitted(few(1)[0], photos[:0]).labelled_only is None
