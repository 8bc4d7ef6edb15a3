"""An ensemble of text and image evidence as one linear classifier, fitted to noisy labels.

Its logits are a weighted sum of zero-shot CLIP, of the tuned prompt and of an LDA on the training
images: one matrix and a bias. The texts read the embedding of an image. The LDA reads its
penultimate features where the image tower returns them, else the embedding too. The weights are
fitted to the labels of images that no part was trained on, through a noise model
(`labels.noise_model`) that explains the wrong labels. The LDA then weighs each image by the
posterior of its true class, and both steps are repeated.

Expectation maximisation finds a nearby optimum only, so it starts from several guesses of the true
classes: the recorded labels, zero-shot, and all text classifiers. The chosen optimum is the one
under which the recorded labels and zero-shot's predictions, as two independent annotators, are
likeliest together. Without the second annotator, labels of two classes that are swapped half of
the time look as right as the truth. Zero-shot is compared with the LDA alone: the ensemble contains
zero-shot, so with many classes and a weak zero-shot an optimum that just copies it would win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from dspt.classifier.lda import CrossFittedLDA, ShrunkLDA
from dspt.classifier.linear import LinearClassifier
from dspt.classifier.unlabelled import UnlabelledLDA
from dspt.classifier.weights import (
    FIRST_RATE,
    LDA_WEIGHT,
    SMOOTHING,
    TEXT_WEIGHT,
    FitRows,
    fit_texts,
    fit_weights,
    mix,
)
from dspt.errors import Cancelled
from dspt.kit.balance import class_weights
from dspt.kit.device import moved, sent
from dspt.labels.noise_model import (
    fit_noise,
    log_likelihood,
    symmetric_transition_matrix,
    true_label_posterior,
    wrong_share,
)

_ROUNDS = 4
_AGREEMENT_WEIGHT = 0.3
"""Weight of the second annotator. At 1.0 the fit would just copy zero-shot."""
_MOST_TRUST, _TRUST_PER_RATE = 0.75, 3.0
"""Weight of the posteriors, beside the recorded labels, in the LDA to serve: 3 times the estimated
share of wrong labels, at most 0.75. Where labels are right, the posteriors take some of them for
wrong. Chosen on clothing and eurosat (4, 8 and 16 shots, 0 to 75 % wrong labels): +0.7 points on
average, +1.3 on right labels, -2.0 at worst in a cell; on caltech101, which confirms, 0.0, +0.2 and
-0.6."""


@dataclass(frozen=True)
class TextClassifier:
    """Logits from class embeddings, already multiplied by the logit scale."""

    matrix: Tensor
    """(C, D): the classifier to serve."""
    held_out_logits: Tensor
    """(N, C): logits of the training images, by models that were not tuned on them."""


@dataclass(frozen=True)
class Ensemble:
    """A linear classifier, and what the fit found about the labels."""

    classifier: LinearClassifier
    """Calibrated on held-out images."""
    labelled_only: LinearClassifier | None
    """The same without the unlabelled images; None if none was used. All other fields rest on the
    labelled images only."""
    log_p: Tensor
    """(N, C): log probabilities of the training images, cross-fitted up to the soft labels of EM:
    the noise matrix, the weights and the posteriors of the other folds depend on the label."""
    posterior: Tensor
    """(N, C): probability of the true class, given the image and its label."""
    averaged_posterior: Tensor
    """(N, C): mean of `posterior` and of the average posterior over all optima. Where the optima
    disagree, it ranks labels better."""
    noise: Tensor
    """(C, C): T[k, j], probability that an image of class k carries label j."""
    scored: Tensor
    """(N,) bool: training images with support in other folds. Weights and noise are fitted to
    them."""
    log_likelihood: float
    """Mean log p(label) over the scored images; NaN if there are none."""
    weights: tuple[float, ...]
    """Of each text classifier, and of the LDA (whose logits have a standard deviation of 1)."""


@dataclass(frozen=True)
class _Sample:
    """The training images. Rows are indices: to find those of a mask, a GPU must be waited for."""

    images: ShrunkLDA
    held_out: CrossFittedLDA
    labels: Tensor
    """(N,)"""
    folds: Sequence[tuple[Tensor, Tensor]]
    """Rows of each fold, and the rows to train on outside of it."""
    train: Tensor
    """Rows to train on."""
    has_support: Tensor
    """(N,) bool: images whose class has training images in other folds."""
    scored: FitRows
    """Images that the weights and the noise matrix are fitted to."""
    texts: Sequence[TextClassifier]
    n_classes: int
    kept: Tensor
    """(N,) bool: images whose label a person has confirmed, so it is the true class.

    After a review, with 25 to 75 % wrong labels before it, this changes the accuracy by +1.8, +4.0
    and +0.7 points on average (clothing, eurosat, caltech101; 45 runs each), by -1.9 at worst in a
    cell. Without these images in the fit of the noise matrix it is lower on caltech101."""
    width: int
    """F, of the features and of the matrix."""


@dataclass(frozen=True)
class _EMResult:
    """One optimum; the fields are those of Ensemble."""

    weights: Tensor
    spread: Tensor
    """Standard deviation of the LDA's logits, by which they were divided."""
    log_p: Tensor
    posterior: Tensor
    noise: Tensor
    log_likelihood: Tensor

    def replaced_if(self, condition: Tensor, other: Self) -> Self:
        """Return `other` if `condition` is true, which a GPU is not waited for."""
        pairs = zip(vars(other).values(), vars(self).values(), strict=True)
        return type(self)(*(torch.where(condition, new, old) for new, old in pairs))


def fit_ensemble(
    features: Tensor,
    labels: Tensor,
    texts: Sequence[TextClassifier],
    folds: Sequence[Tensor],
    train_mask: Tensor | None = None,
    *,
    kept: Tensor | None = None,
    unlabelled: Tensor | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Ensemble:
    """Fit the ensemble of `texts`, of which the first is zero-shot, and of an LDA.

    With one image per class there is no held-out evidence, and the weights keep their start values.

    features: (N, F), see `Backbone.feature_dim`; labels: (N,); folds: held-out rows of each fold,
    together 0..N-1, the same as in `held_out_logits` of the texts; train_mask: (N,) bool, images to
    train on. Default: all. The other images are only scored; kept: (N,) bool, images whose label a
    person has confirmed. Default: none; unlabelled: (U, F), further images of the same kind, none
    of which accuracy is measured on. They are not used without held-out evidence. progress(done,
    total): called at each round of EM. Raises Cancelled once `should_stop()` is true.
    """
    if train_mask is None:
        train_mask = torch.ones_like(labels, dtype=torch.bool)
    if kept is None:
        kept = torch.zeros_like(labels, dtype=torch.bool)
    device, on_cpu = labels.device, labels.cpu()
    folds, train_mask = [fold.cpu() for fold in folds], train_mask.cpu()
    has_support = _has_support(on_cpu, folds, train_mask)
    (n_classes, embed_dim), width = texts[0].matrix.shape, features.shape[1]
    of_images = features[:, embed_dim if width > embed_dim else 0 :]
    train = sent(train_mask.nonzero()[:, 0], device)
    balance = sent(class_weights(on_cpu, train_mask, SMOOTHING), device)
    images = ShrunkLDA.of(of_images, train, balance)
    held_out = [sent(fold, device) for fold in folds]
    sample = _Sample(
        images,
        CrossFittedLDA.of(
            images, held_out, [sent(fold[train_mask[fold]], device) for fold in folds]
        ),
        labels,
        [
            (rows, sent(_outside(fold, train_mask).nonzero()[:, 0], device))
            for rows, fold in zip(held_out, folds, strict=True)
        ],
        train,
        sent(has_support, device),
        moved(FitRows.of(on_cpu, train_mask & has_support), device),
        texts,
        n_classes,
        kept,
        width,
    )
    rounds = count()

    def at_round() -> None:
        if should_stop():
            raise Cancelled("cancelled while fitting the classifier")
        progress(next(rounds), _ROUNDS * (1 + len(texts)))

    best, mean = _best_optimum(sample, at_round)
    lda, guess = _lda(sample, best)
    classifier, labelled_only = _combined(sample, best, lda), None
    # Without held-out evidence the ensemble is not calibrated, and EM would confirm its errors.
    if unlabelled is not None and len(unlabelled) and len(sample.scored.rows):
        more = UnlabelledLDA.of(
            features,
            train,
            guess,
            unlabelled,
            of_images.shape[1],
            best.weights[-1] / best.spread,
            partial(_combined, sample, best),
        )
        if _predicts_better(sample, best, more, features[:, -of_images.shape[1] :]):
            classifier, labelled_only = _combined(sample, best, more.fit(train)), classifier
    return Ensemble(
        classifier,
        labelled_only,
        best.log_p,
        best.posterior,
        (best.posterior + mean) / 2,
        best.noise,
        sent(train_mask & has_support, device),
        float(best.log_likelihood),
        tuple(best.weights.tolist()),
    )


def _has_support(labels: Tensor, folds: Sequence[Tensor], train_mask: Tensor) -> Tensor:
    """(N,) bool: images whose class has a training image outside their fold.

    All false if this holds for less than half of the training images: with one shot per class,
    the few classes that got a second image by a wrong label would decide for all. All false, too,
    if it holds for one class only: its images would be evidence against all others.
    """
    found = torch.zeros_like(train_mask)
    for fold in folds:
        found[fold] = torch.isin(labels[fold], labels[_outside(fold, train_mask)])
    scored = found & train_mask
    if scored.sum() < 0.5 * train_mask.sum() or len(torch.bincount(labels[scored]).nonzero()) < 2:
        return torch.zeros_like(train_mask)
    return found


def _outside(fold: Tensor, train_mask: Tensor) -> Tensor:
    """(N,) bool: training images that are not in the fold."""
    others = train_mask.clone()
    others[fold] = False
    return others


def _one_hot(sample: _Sample) -> Tensor:
    """(N, C): the labels as posteriors of the true class."""
    return F.one_hot(sample.labels, sample.n_classes).to(sample.images.features)


def _true_classes(sample: _Sample, log_p: Tensor, noise: Tensor) -> Tensor:
    """(N, C): posterior of the true class. An image without support keeps its label."""
    found = true_label_posterior(log_p, sample.labels, noise)
    uncertain = sample.has_support & ~sample.kept
    return torch.where(uncertain[:, None], found, _one_hot(sample))


def _text_guess(sample: _Sample, logits: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    log_p, noise = fit_texts(logits, sample.labels, sample.scored)
    return _true_classes(sample, log_p, noise), noise


def _starts(sample: _Sample) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a guess of the true classes (N, C) and a noise matrix, one pair at a time."""
    one_hot = _one_hot(sample)
    yield one_hot, symmetric_transition_matrix(FIRST_RATE, sample.n_classes, one_hot)
    by_text = [text.held_out_logits for text in sample.texts]
    yield _text_guess(sample, by_text[:1])
    if len(by_text) > 1:
        yield _text_guess(sample, by_text)


def _best_optimum(sample: _Sample, at_round: Callable[[], None]) -> tuple[_EMResult, Tensor]:
    """Return the optimum with the highest objective, and the mean posterior (N, C) over all."""
    found = (_run_em(sample, *start, at_round) for start in _starts(sample))
    highest, best = next(found)
    total, n = best.posterior.clone(), 1
    for objective, optimum in found:
        better = objective > highest
        highest = torch.where(better, objective, highest)
        best = best.replaced_if(better, optimum)
        total, n = total.add_(optimum.posterior), n + 1
    return best, total / n


def _run_em(
    sample: _Sample, guess: Tensor, noise: Tensor, at_round: Callable[[], None]
) -> tuple[Tensor, _EMResult]:
    """Alternate between the weights and the true classes; returns (objective, optimum)."""
    text = [classifier.held_out_logits for classifier in sample.texts]
    prior = guess.new_full((len(text) + 1,), TEXT_WEIGHT)
    prior[-1] = LDA_WEIGHT
    weights = prior.exp()
    scored, balance = sample.scored.rows, sample.scored.balance[sample.scored.rows]
    for _ in range(_ROUNDS):
        at_round()
        by_lda, spread = _held_out_lda(sample, guess)
        parts = [*text, by_lda]
        weights = fit_weights(parts, sample.labels, sample.scored, noise, prior, weights)
        log_p = mix(weights, parts)
        noise = fit_noise(log_p[scored], sample.labels[scored], noise, balance)
        guess = _true_classes(sample, log_p, noise)
    likelihood = log_likelihood(log_p, sample.labels, noise)[scored]
    by_images = mix(weights[-1:], [by_lda[scored]])
    agreement = _second_annotator(by_images, text[0][scored])
    optimum = _EMResult(weights, spread, log_p, guess, noise, (likelihood * balance).mean())
    return ((likelihood + _AGREEMENT_WEIGHT * agreement) * balance).sum(), optimum


def _predicts_better(
    sample: _Sample, optimum: _EMResult, lda: UnlabelledLDA, features: Tensor
) -> bool:
    """Whether the ensemble predicts held-out labels better with the unlabelled images.

    Those of other things than the classes, or of few of them, often make it worse.
    """
    text = torch.zeros_like(optimum.log_p)
    for weight, classifier in zip(optimum.weights[:-1], sample.texts, strict=True):
        text += weight * classifier.held_out_logits

    def likelihood(fit: Callable[[Tensor], LinearClassifier]) -> Tensor:
        logits = text.clone()
        for fold, others in sample.folds:
            logits[fold] += fit(others).logits(features[fold])
        found = log_likelihood(logits.log_softmax(1), sample.labels, optimum.noise)
        return (found * sample.scored.balance)[sample.scored.rows].sum()

    return bool(likelihood(lda.fit) > likelihood(lda.labelled_only))


def _lda(sample: _Sample, optimum: _EMResult) -> tuple[LinearClassifier, Tensor]:
    """The LDA on all training images, times its weight; and the weight of each in each class."""
    rows = sample.train
    rate = wrong_share(optimum.posterior[rows], sample.labels[rows])
    trust = (_TRUST_PER_RATE * rate).clamp_max(_MOST_TRUST)
    guess = torch.lerp(_one_hot(sample), optimum.posterior, trust)
    directions = sample.images.directions(rows, guess)
    return sample.images.classifier(optimum.weights[-1] / optimum.spread * directions), guess


def _combined(sample: _Sample, optimum: _EMResult, lda: LinearClassifier) -> LinearClassifier:
    """The sum of the weighted text classifiers and of an LDA.

    The columns of the texts are the first, those of the LDA the last.
    """
    matrix = lda.matrix.new_zeros(sample.n_classes, sample.width)
    matrix[:, -lda.matrix.shape[1] :] = lda.matrix
    for weight, classifier in zip(optimum.weights[:-1], sample.texts, strict=True):
        matrix[:, : classifier.matrix.shape[1]] += weight * classifier.matrix
    return LinearClassifier(matrix, lda.bias)


def _held_out_lda(sample: _Sample, guess: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, C) by LDA on the other folds, and the standard deviation they are divided by."""
    logits = sample.held_out.logits(guess)
    spread = logits[sample.train].std().clamp_min(1e-6)
    return logits / spread, spread


def _second_annotator(log_p: Tensor, zero_shot: Tensor) -> Tensor:
    """(N,): log p(class that zero-shot predicts), as an annotator with its own noise matrix.

    A matrix, and not only an error rate: with many classes zero-shot confuses the same ones again
    and again. As independent errors these would be so unlikely that the optimum which copies
    zero-shot would be chosen, even if it explains the labels badly.
    """
    n_classes = log_p.shape[1]
    predicted = zero_shot.argmax(1)
    agreement = log_p.gather(1, predicted[:, None]).exp().mean()
    rate = 1 - agreement.clamp(1 / n_classes, 0.99)
    noise = symmetric_transition_matrix(rate, n_classes, log_p)
    return log_likelihood(log_p, predicted, fit_noise(log_p, predicted, noise))
