"""Text and image evidence in one linear classifier, weighed without trusting the labels.

Logits are a weighted sum of zero-shot CLIP, of the tuned prompt and of the training images' class
means; still a C x D matrix (and a bias) beside the image tower. The weights are fitted to the given
labels of images that no part has seen, through a noise model (`labels.noise_model`) that explains
wrong ones; the means then weigh each image by the posterior of its true class, and all is repeated.

This climbs to a nearby optimum only, so it starts from several guesses of the true classes: the
given labels, zero-shot, and all text classifiers. Taken is the optimum under which the given labels
and zero-shot's predictions, as two annotators who err independently, are likeliest together.
Without the second annotator, labels that are swapped half of the time look as right as the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dspt.classifier.lda import Centred
from dspt.classifier.linear import LinearClassifier
from dspt.errors import Cancelled
from dspt.labels.noise_model import (
    fit_noise,
    log_likelihood,
    symmetric_transition_matrix,
    true_label_posterior,
)

_ROUNDS = 4
_FIRST_RATE = 0.3  # of wrong labels, before anything is known
_TEXT_WEIGHT, _MEANS_WEIGHT = -1.5, 0.0  # logarithms, where a fit starts
_AGREEMENT_WEIGHT = 0.3
"""Weight of the second annotator's likelihood. Whole, it would reward copying zero-shot."""
_PRIOR_STD = 1.0
"""Standard deviation of the logarithm of a weight around where it starts."""
_FIT_STEPS = 15
_RANGE = (-10.0, 5.0)  # of logarithms: a line search may try any value
_MAX_FITTED = 2048
"""Images that the few weights are fitted to; more cost time and change nothing."""


@dataclass(frozen=True)
class TextClassifier:
    """Logits from class embeddings, already multiplied by the logit scale."""

    matrix: Tensor
    """(C, D): what is served."""
    held_out: Tensor
    """(N, C): logits of the training images, by models not tuned on them."""


@dataclass(frozen=True)
class Ensemble:
    """A linear classifier, and what it makes of the labels that it was fitted to."""

    classifier: LinearClassifier
    """Calibrated on held-out images."""
    log_p: Tensor
    """(N, C): log probabilities of the training images, by models that have not seen them."""
    posterior: Tensor
    """(N, C): probability of the true class, with the given label taken into account."""
    averaged_posterior: Tensor
    """(N, C): half the posterior, half the mean of those at all optima that were climbed to. Where
    the optima disagree, this ranks and suspects labels better."""
    noise: Tensor
    """(C, C): T[k, j], probability that an image of class k carries label j."""
    judged: Tensor
    """(N,) bool: images that could be judged by what they had no part in, and were learned from."""
    log_likelihood: float
    """Mean over the images that can be judged of log p(given label); NaN if there are none."""
    weights: tuple[float, ...]
    """Of each text classifier, and of the class means (whose logits have a deviation of 1)."""


@dataclass(frozen=True)
class _Sample:
    """The training images: features, labels (N,), folds, and which may be learned from."""

    images: Centred
    given: Tensor
    folds: Sequence[Tensor]
    fit: Tensor
    """(N,) bool."""
    judgeable: Tensor
    """(N,) bool: images whose class another fold knows; of others no model can tell anything."""
    texts: Sequence[TextClassifier]
    n_classes: int

    @property
    def judged(self) -> Tensor:
        """(N,) bool: images that weights and noise are fitted to."""
        return self.fit & self.judgeable


@dataclass(frozen=True)
class _EMResult:
    """Where a climb ended; fields as in Ensemble."""

    weights: Tensor
    spread: Tensor
    """Deviation of the class means' logits, by which they were divided."""
    log_p: Tensor
    posterior: Tensor
    noise: Tensor
    log_likelihood: float


def fit_ensemble(
    features: Tensor,
    given: Tensor,
    texts: Sequence[TextClassifier],
    folds: Sequence[Tensor],
    fit: Tensor | None = None,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> Ensemble:
    """The blend of `texts`, of which the first is zero-shot, and of the class means.

    Where every class has but one image, nothing can be judged and the weights stay where a fit
    would start.

    features: (N, D) unit length; given: (N,) labels; folds: positions that divide 0..N-1, as in
    the texts' `held_out`; fit: (N,) bool, images to learn from (all); the others are only judged.
    Raises Cancelled once `should_stop()` is true.
    """
    if fit is None:
        fit = torch.ones_like(given, dtype=torch.bool)
    judgeable = _judgeable(given, folds, fit)
    n_classes = texts[0].matrix.shape[0]
    sample = _Sample(Centred.of(features, fit), given, folds, fit, judgeable, texts, n_classes)
    by_text = [text.held_out for text in texts]
    labels = _labels(sample)
    starts = [
        (labels, symmetric_transition_matrix(_FIRST_RATE, n_classes, labels)),
        _text_guess(sample, by_text[:1]),
        _text_guess(sample, by_text),
    ]
    found = [_run_em(sample, *start, should_stop) for start in starts]
    best = max(found, key=lambda one: one[0])[1]
    mean = torch.stack([optimum.posterior for _, optimum in found]).mean(0)
    return Ensemble(
        _classifier(sample, best),
        best.log_p,
        best.posterior,
        (best.posterior + mean) / 2,
        best.noise,
        sample.judged,
        best.log_likelihood,
        tuple(best.weights.tolist()),
    )


def calibrated_log_likelihood(held_out: Tensor, given: Tensor, fit: Tensor) -> float:
    """Mean log p(given label) of a classifier alone, under the noise that suits it best.

    held_out: (N, C) logits, of which the scale is fitted too; fit: (N,) bool, images to judge by;
    NaN if there are none.
    """
    log_p, noise = _fit_texts([held_out], given, fit)
    return float(log_likelihood(log_p, given, noise)[fit].mean())


def _judgeable(given: Tensor, folds: Sequence[Tensor], fit: Tensor) -> Tensor:
    """(N,) bool: images whose class has another one to learn from outside their fold.

    None where that holds for less than half of `fit`: with one shot, the few classes that a wrong
    label has given a second image would speak for all.
    """
    found = torch.zeros_like(fit)
    for fold in folds:
        found[fold] = torch.isin(given[fold], given[_outside(fold, fit)])
    if (found & fit).sum() < 0.5 * fit.sum():
        return torch.zeros_like(fit)
    return found


def _outside(fold: Tensor, fit: Tensor) -> Tensor:
    """(N,) bool: images of `fit` that are not in the fold."""
    others = fit.clone()
    others[fold] = False
    return others


def _labels(sample: _Sample) -> Tensor:
    """The given labels as the true classes: (N, C)."""
    return F.one_hot(sample.given, sample.n_classes).to(sample.images.features)


def _true_classes(sample: _Sample, log_p: Tensor, noise: Tensor) -> Tensor:
    """Posterior of the true classes (N, C); an image that none can judge keeps its label."""
    found = true_label_posterior(log_p, sample.given, noise)
    return torch.where(sample.judgeable[:, None], found, _labels(sample))


def _text_guess(sample: _Sample, logits: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    log_p, noise = _fit_texts(logits, sample.given, sample.judged)
    return _true_classes(sample, log_p, noise), noise


def _fit_texts(logits: Sequence[Tensor], given: Tensor, fit: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of text classifiers and the noise in turn: log probabilities (N, C), noise."""
    stacked = torch.stack(list(logits))
    noise = symmetric_transition_matrix(_FIRST_RATE, stacked.shape[2], stacked)
    start = stacked.new_full((len(stacked),), _TEXT_WEIGHT)
    for _ in range(3):
        weights = _fit_weights(stacked, given, fit, noise, start)
        log_p = _mix(weights, stacked)
        noise = fit_noise(log_p[fit], given[fit], noise)
    return log_p, noise


def _run_em(
    sample: _Sample, guess: Tensor, noise: Tensor, should_stop: Callable[[], bool]
) -> tuple[float, _EMResult]:
    """Alternate between the weights and the true classes; returns (likelihood, optimum)."""
    text = [classifier.held_out for classifier in sample.texts]
    start = guess.new_tensor([*[_TEXT_WEIGHT] * len(text), _MEANS_WEIGHT])
    for _ in range(_ROUNDS):
        if should_stop():
            raise Cancelled("cancelled while fitting the classifier")
        by_means, spread = _held_out_means(sample, guess)
        stacked = torch.stack([*text, by_means])
        weights = _fit_weights(stacked, sample.given, sample.judged, noise, start)
        log_p = _mix(weights, stacked)
        noise = fit_noise(log_p[sample.judged], sample.given[sample.judged], noise)
        guess = _true_classes(sample, log_p, noise)
    judged = sample.judged
    likelihood = log_likelihood(log_p, sample.given, noise)[judged]
    agreement = _second_annotator(log_p[judged], text[0][judged])
    optimum = _EMResult(weights, spread, log_p, guess, noise, float(likelihood.mean()))
    return float((likelihood + _AGREEMENT_WEIGHT * agreement).sum()), optimum


def _classifier(sample: _Sample, optimum: _EMResult) -> LinearClassifier:
    """The weighted sum of the text classifiers and of the means of all images."""
    weights = optimum.weights
    directions = sample.images.directions(sample.fit, optimum.posterior)
    means = sample.images.classifier(weights[-1] / optimum.spread * directions)
    matrix = means.matrix
    for weight, classifier in zip(weights[:-1], sample.texts, strict=True):
        matrix = matrix + weight * classifier.matrix
    return LinearClassifier(matrix, means.bias)


def _held_out_means(sample: _Sample, guess: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, C) by the class means of the other folds, and the deviation they had before."""
    features = sample.images.features
    logits = features.new_empty(len(features), sample.n_classes)
    for fold in sample.folds:
        others = _outside(fold, sample.fit)
        logits[fold] = features[fold] @ sample.images.directions(others, guess).T
    spread = logits[sample.fit].std().clamp_min(1e-6)
    return logits / spread, spread


def _mix(weights: Tensor, logits: Tensor) -> Tensor:
    """(J,), (J, N, C) -> log probabilities (N, C)."""
    mixed: Tensor = torch.tensordot(weights, logits, dims=1)
    return mixed.log_softmax(1)


def _fit_weights(
    logits: Tensor, given: Tensor, fit: Tensor, noise: Tensor, start: Tensor
) -> Tensor:
    """Positive weights (J,) of logits (J, N, C) that make the given labels likeliest."""
    rows = fit.nonzero()[:, 0]
    rows = rows[:: max(1, -(-len(rows) // _MAX_FITTED))]
    logits, given = logits[:, rows], given[rows]
    log_noise = noise.log()[:, given].T
    logarithms = start.clone()
    optimizer = torch.optim.LBFGS([logarithms], max_iter=_FIT_STEPS, line_search_fn="strong_wolfe")

    def cost() -> float:
        weights = logarithms.clamp(*_RANGE).exp()
        log_p = _mix(weights, logits)
        evidence = log_p + log_noise
        # d cost / d logits = p - posterior
        slope = log_p.exp() - evidence.softmax(1)
        pull = (logarithms - start) / _PRIOR_STD**2
        logarithms.grad = (logits * slope).sum((1, 2)) * weights + pull
        penalty = 0.5 * (pull * (logarithms - start)).sum()
        return float(penalty - evidence.logsumexp(1).sum())

    optimizer.step(cost)  # type: ignore[no-untyped-call]
    return logarithms.clamp(*_RANGE).exp()


def _second_annotator(log_p: Tensor, zero_shot: Tensor) -> Tensor:
    """log p(zero-shot's class | image): (N,), if it is right at the rate at which they agree."""
    n_classes = log_p.shape[1]
    says = zero_shot.argmax(1)
    agree = float(log_p.gather(1, says[:, None]).exp().mean())
    noise = symmetric_transition_matrix(1 - min(max(agree, 1 / n_classes), 0.99), n_classes, log_p)
    return log_likelihood(log_p, says, noise)
