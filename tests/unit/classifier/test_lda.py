"""Class means against the textbook, in the plain and in the smaller space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dspt.classifier.lda import CrossFittedLDA, ShrunkLDA

FEW, MANY = 12, 90
"""Images: fewer and more than the 20 dimensions."""


def images(n: int, n_classes: int = 3, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Unit features (n, 20) of correlated dimensions around class centres; their classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % n_classes
    mixing = torch.randn(20, 20, generator=torch.Generator().manual_seed(7)) / 20**0.5
    noise = torch.randn(n, 20, generator=generator) @ mixing
    centres = torch.randn(n_classes, 20, generator=torch.Generator().manual_seed(8))
    return F.normalize(centres[labels] + noise, dim=1), labels


def everyone(n: int) -> Tensor:
    return torch.ones(n, dtype=torch.bool)


def one_hot(labels: Tensor, n_classes: int = 3) -> Tensor:
    return F.one_hot(labels, n_classes).float()


def textbook(features: Tensor, weights: Tensor) -> NDArray[np.float64]:
    """(C, D + 1): matrix and bias, image by image in float64."""
    x, w = features.double().numpy(), weights.double().numpy()
    centre = x.mean(0)
    x = x - centre
    means = np.stack([(w[:, k, None] * x).sum(0) / w[:, k].sum() for k in range(w.shape[1])])
    within = np.zeros((x.shape[1], x.shape[1]))
    for k, mean in enumerate(means):
        for weight, image in zip(w[:, k], x, strict=True):
            within += weight * np.outer(image - mean, image - mean)
    metric = within + np.trace(within) / w.sum() * np.eye(len(within))
    directions = np.linalg.solve(metric, means.T).T
    directions /= np.sqrt((directions * means).sum(1, keepdims=True))
    return np.hstack([directions, -(directions @ centre)[:, None]])


@pytest.mark.parametrize("n", [FEW, MANY])
@pytest.mark.parametrize("soft", [False, True])
def test_is_linear_discriminant_analysis(n: int, soft: bool) -> None:
    features, labels = images(n)
    weights = one_hot(labels)
    if soft:
        weights = (2 * torch.randn(n, 3, generator=torch.Generator().manual_seed(3))).softmax(1)
    found = ShrunkLDA.of(features, everyone(n))
    linear = found.classifier(found.directions(everyone(n), weights))
    expected = textbook(features, weights)
    both = torch.hstack([linear.matrix, linear.bias[:, None]])
    np.testing.assert_allclose(both.numpy(), expected, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("n", [FEW, MANY])
def test_points_where_scikit_learn_points(n: int) -> None:
    """Its shrinkage mixes (1 - s) covariance + s identity; ours adds s / (1 - s) of the latter."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    features, labels = images(n)
    centred = ShrunkLDA.of(features, everyone(n))
    linear = centred.classifier(centred.directions(everyone(n), one_hot(labels)))
    shrinkage = features.shape[1] / n
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage / (1 + shrinkage))
    theirs.fit((features - features.mean(0)).double().numpy(), labels.numpy())
    found = F.normalize(linear.matrix, dim=1)
    expected = F.normalize(torch.from_numpy(theirs.coef_).float(), dim=1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_the_smaller_space_loses_nothing() -> None:
    """Projected on the span of a few images, images that are not in it get the same logits."""
    features, labels = images(FEW)
    small = ShrunkLDA.of(features, everyone(FEW))
    full = ShrunkLDA(features - features.mean(0), features.mean(0), None)
    assert small.basis is not None
    assert small.features.shape == (FEW, FEW)
    fresh, _ = images(50, seed=2)
    found, expected = (
        space.classifier(space.directions(everyone(FEW), one_hot(labels))).logits(fresh)
        for space in (small, full)
    )
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("n", [FEW, MANY])
def test_the_smaller_space_is_orthonormal_and_centred(n: int) -> None:
    features, _ = images(n)
    fit = torch.arange(n) % 4 != 0
    found = ShrunkLDA.of(features, fit)
    torch.testing.assert_close(found.centre, features[fit].mean(0))
    if n == MANY:
        assert found.basis is None
        torch.testing.assert_close(found.features, features - found.centre)
        return
    assert found.basis is not None
    assert found.basis.shape == (20, 9)
    torch.testing.assert_close(found.basis.T @ found.basis, torch.eye(9), atol=1e-5, rtol=0)
    back = found.features[fit] @ found.basis.T
    torch.testing.assert_close(back, features[fit] - found.centre, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n", [FEW, MANY])
def test_an_uncentred_image_gets_the_logits_of_the_centred_one(n: int) -> None:
    features, labels = images(n)
    found = ShrunkLDA.of(features, everyone(n))
    directions = found.directions(everyone(n), one_hot(labels))
    logits = found.classifier(directions).logits(features)
    torch.testing.assert_close(logits, found.features @ directions.T, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n", [FEW, MANY])
def test_only_the_rows_asked_for_count(n: int) -> None:
    features, labels = images(n)
    fit = torch.arange(n) % 4 != 0
    changed, weights = features.clone(), one_hot(labels)
    changed[~fit] = float("nan")
    found = []
    for x in (features, changed):
        space = ShrunkLDA.of(x, fit)
        found.append(space.classifier(space.directions(fit, weights)))
        weights = weights.clone()
        weights[~fit] = float("nan")
    assert torch.equal(found[0].matrix, found[1].matrix)
    assert torch.equal(found[0].bias, found[1].bias)


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_labels_that_are_wrong_evenly_turn_no_direction_by_much(rate: float) -> None:
    features, labels = images(MANY)
    space = ShrunkLDA.of(features, everyone(MANY))
    clean = one_hot(labels)
    noisy = (1 - rate) * clean + rate / 2 * (1 - clean)
    found, expected = (
        F.normalize(space.directions(everyone(MANY), weights), dim=1) for weights in (noisy, clean)
    )
    assert float((found * expected).sum(1).min()) > 0.98


# ------------------------------------------------------------------------------------- too little


@pytest.mark.parametrize("n", [FEW, MANY])
def test_a_class_without_images_points_nowhere(n: int) -> None:
    features, labels = images(n)
    space = ShrunkLDA.of(features, everyone(n))
    found = space.directions(everyone(n), one_hot(labels, 5))
    assert torch.equal(found[3:], torch.zeros_like(found[3:]))
    expected = space.directions(everyone(n), one_hot(labels))
    torch.testing.assert_close(found[:3], expected)


def test_one_image_per_class_points_at_its_image() -> None:
    features, _ = images(3)
    space = ShrunkLDA.of(features, everyone(3))
    directions = space.directions(everyone(3), torch.eye(3))
    assert torch.isfinite(directions).all()
    cosines = F.normalize(directions) @ F.normalize(space.features).T
    torch.testing.assert_close(cosines.diagonal(), torch.ones(3), atol=1e-4, rtol=0)


def test_images_that_are_all_the_same_do_no_harm() -> None:
    features, labels = images(FEW)
    same = features[:1].expand(FEW, -1)
    space = ShrunkLDA.of(same, everyone(FEW))
    linear = space.classifier(space.directions(everyone(FEW), one_hot(labels)))
    assert torch.isfinite(linear.logits(same)).all()


def test_no_images_at_all_point_nowhere() -> None:
    features, labels = images(FEW)
    space = ShrunkLDA.of(features, everyone(FEW))
    found = space.directions(~everyone(FEW), one_hot(labels))
    assert torch.equal(found, torch.zeros(3, FEW))


# ----------------------------------------------------------------------------------- cross-fitted


@pytest.mark.parametrize("n", [FEW, MANY])
@pytest.mark.parametrize("whole", [True, False])
def test_the_cross_fitted_lda_is_fitted_outside_of_each_fold(n: int, whole: bool) -> None:
    """As the LDA on the training images of the other folds, for one guess after the other."""
    features, labels = images(n)
    fit = everyone(n) if whole else torch.arange(n) % 5 != 0
    order = torch.randperm(n, generator=torch.Generator().manual_seed(5))
    folds = list(order.tensor_split(3))
    space = ShrunkLDA.of(features, fit)
    found = CrossFittedLDA.of(space, folds, [fold[fit[fold]] for fold in folds])
    soft = (2 * torch.randn(n, 3, generator=torch.Generator().manual_seed(3))).softmax(1)
    # no image of class 1 outside of the first fold
    alone = one_hot(torch.where((labels == 1) & ~torch.isin(torch.arange(n), folds[0]), 2, labels))
    for weights in (soft, one_hot(labels), alone):
        logits = found.logits(weights)
        for fold in folds:
            outside = fit.clone()
            outside[fold] = False
            expected = space.features[fold] @ space.directions(outside, weights).T
            torch.testing.assert_close(logits[fold], expected, atol=1e-3, rtol=1e-3)
    assert torch.equal(logits[folds[0], 1], torch.zeros(len(folds[0])))
