"""Which labels are called suspect, and when nothing is."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dspt.labels.audit import AuditReport, audit_labels
from dspt.labels.noise_model import symmetric_transition_matrix, true_label_posterior
from dspt.labels.noise_rate import NoiseRate
from dspt.prompt.losses import suppression

CLASSES = ["cat", "dog", "fox"]


def sure_of(classes: Tensor, share: float = 0.9, n_classes: int = 3) -> Tensor:
    """Probabilities that give `share` to these classes and divide the rest."""
    rest = (1 - share) / (n_classes - 1)
    return torch.full((len(classes), n_classes), rest).scatter(1, classes[:, None], share)


def files(n: int) -> list[str]:
    return [f"{i}.jpg" for i in range(n)]


def audit(
    given: Tensor,
    tuned: Tensor,
    zero_shot: Tensor | None = None,
    *,
    posterior: Tensor | None = None,
    noise_rate: NoiseRate | None = None,
    kept: Tensor | None = None,
    groups: NDArray[np.int64] | None = None,
) -> AuditReport:
    """`tuned`: (N, C) probabilities; the posterior is theirs if 30 % of the labels are wrong."""
    n, n_classes = tuned.shape
    if zero_shot is None:
        zero_shot = torch.full((n, n_classes), 1 / n_classes)
    names = [f"class {c}" for c in range(n_classes)] if n_classes != 3 else CLASSES
    log_p = tuned.log()
    if posterior is None:
        posterior = true_label_posterior(
            log_p, given, symmetric_transition_matrix(0.3, n_classes, tuned)
        )
    return audit_labels(
        files(n),
        names,
        given,
        log_p=log_p,
        posterior=posterior,
        zero_shot=zero_shot,
        suppressed=suppression(log_p.clamp_min(-30), given),
        noise_rate=noise_rate,
        kept=kept,
        groups=groups,
    )


@pytest.fixture
def planted() -> tuple[Tensor, Tensor, list[int]]:
    """30 given labels, what the models think of them, and the rows that are wrong."""
    truth = torch.arange(30) % 3
    given = truth.clone()
    wrong = [4, 11, 20]
    given[wrong] = (truth[wrong] + 1) % 3
    tuned = sure_of(truth, 0.7)
    for row, share in zip(wrong, (0.8, 0.85, 0.9), strict=True):
        tuned[row] = sure_of(truth[row : row + 1], share)[0]
    return given, tuned, wrong


def test_the_least_likely_labels_come_first(planted: tuple[Tensor, Tensor, list[int]]) -> None:
    given, tuned, wrong = planted
    report = audit(given, tuned)
    assert [entry.file for entry in report.entries[:3]] == ["20.jpg", "11.jpg", "4.jpg"]
    scores = [entry.score for entry in report.entries]
    assert scores == sorted(scores, reverse=True)
    assert sorted(entry.file for entry in report.entries) == sorted(files(30))
    assert {entry.file for entry in report.suspects} == {f"{i}.jpg" for i in wrong}
    assert report.can_tell
    assert "90.0% of the labels" in report.why
    # what a model that says the same classes as often, at random, would get
    assert "chance would give 33." in report.why


def test_what_an_entry_says(planted: tuple[Tensor, Tensor, list[int]]) -> None:
    given, tuned, _ = planted
    zero_shot = sure_of(given, 0.6)
    report = audit(given, tuned, zero_shot)
    entry = next(entry for entry in report.entries if entry.file == "11.jpg")
    assert (entry.given, entry.suggested) == ("cat", "fox")
    assert entry.p_tuned == pytest.approx(float(tuned[11, 0]))
    # Bayes: the given class at 0.075 x 0.7, the true one at 0.85 x 0.15, the third at 0.075 x 0.15
    assert entry.score == pytest.approx(1 - 0.0525 / (0.0525 + 0.1275 + 0.01125), abs=1e-6)
    assert entry.p_zero_shot == pytest.approx(0.6)
    assert entry.suppression == pytest.approx(float(suppression(tuned[11].log(), given[11])))
    assert entry.suspect


def test_a_right_label_gets_the_next_best_class_as_suggestion() -> None:
    given = torch.zeros(20, dtype=torch.long)
    given[10:] = 1
    tuned = sure_of(given, 0.7)
    tuned[0] = torch.tensor([0.7, 0.1, 0.2])
    entry = next(e for e in audit(given, tuned).entries if e.file == "0.jpg")
    assert entry.suggested == "fox"
    assert not entry.suspect


def test_the_posterior_ranks_and_not_the_probability() -> None:
    given = torch.arange(20) % 2
    tuned = sure_of(given, 0.8, 2)
    tuned[3] = torch.tensor([0.6, 0.4])
    posterior = sure_of(given, 0.9, 2)
    posterior[5] = torch.tensor([0.7, 0.3])
    report = audit(given, tuned, posterior=posterior)
    assert report.entries[0].file == "5.jpg"
    assert report.entries[0].score == pytest.approx(0.7)
    assert report.entries[0].p_tuned == pytest.approx(0.8)


def test_labels_equally_right_are_in_the_order_of_their_probability() -> None:
    """A posterior that knows nothing but the given labels still leaves a ranking."""
    given = torch.arange(20) % 2
    tuned = sure_of(given, 0.8, 2)
    tuned[7] = torch.tensor([0.6, 0.4])
    report = audit(given, tuned, posterior=sure_of(given, 1.0, 2))
    assert [entry.file for entry in report.entries[:2]] == ["7.jpg", "0.jpg"]
    assert not report.suspects


def test_files_alike_keep_their_order() -> None:
    given = torch.arange(20) % 2
    assert [e.file for e in audit(given, sure_of(given, 0.9, 2)).entries] == files(20)


def test_a_label_is_suspect_once_it_is_likelier_wrong_than_right() -> None:
    given = torch.arange(30) % 3
    posterior = sure_of(given, 0.9)
    posterior[0] = torch.tensor([0.49, 0.30, 0.21])
    posterior[3] = torch.tensor([0.50, 0.48, 0.02])
    report = audit(given, sure_of(given), posterior=posterior)
    assert [entry.file for entry in report.entries[:2]] == ["0.jpg", "3.jpg"]
    assert [entry.file for entry in report.suspects] == ["0.jpg"]
    assert report.suspects[0].suggested == "dog"


def test_suppression_tells_an_ignored_label_from_a_learnt_one() -> None:
    given = torch.arange(30) % 3
    tuned = sure_of(given, 0.6)
    tuned[0] = torch.tensor([0.001, 0.998, 0.001])
    entries = {entry.file: entry for entry in audit(given, tuned).entries}
    assert entries["0.jpg"].suppression < 0.01
    assert entries["3.jpg"].suppression > 0.3


def test_certainty_gives_finite_figures() -> None:
    given = torch.arange(30) % 3
    tuned = sure_of(given, 1.0)
    tuned[0] = torch.tensor([0.0, 1.0, 0.0])
    report = audit(given, tuned, sure_of(given, 1.0))
    assert report.entries[0].file == "0.jpg"
    assert report.entries[0].score == 1
    for entry in report.entries:
        for value in (entry.score, entry.p_tuned, entry.p_zero_shot, entry.suppression):
            assert 0 <= value <= 1
            assert math.isfinite(value)


# ------------------------------------------------------------------------------------ cannot tell


@pytest.mark.parametrize("seed", range(10))
def test_random_labels_are_not_ranked(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    given = torch.randint(10, (160,), generator=generator)
    tuned = (4 * torch.randn(160, 10, generator=generator)).softmax(1)
    report = audit(given, tuned)
    assert not report.can_tell
    assert "no better than chance" in report.why
    assert report.suspects == ()
    assert len(report.entries) == 160


def test_models_that_always_say_the_commonest_class_cannot_tell() -> None:
    given = torch.tensor([0] * 80 + [1] * 10 + [2] * 10)
    report = audit(given, sure_of(torch.zeros(100, dtype=torch.long)))
    assert not report.can_tell
    assert "80.0% of the labels; chance would give 80.0%" in report.why


def test_models_that_contradict_every_label_cannot_tell() -> None:
    given = torch.arange(60) % 3
    report = audit(given, sure_of((given + 1) % 3))
    assert not report.can_tell
    assert report.suspects == ()


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_half_wrong_labels_are_found_by_good_models(rate: float) -> None:
    generator = torch.Generator().manual_seed(1)
    truth = torch.arange(160) % 10
    flip = torch.rand(160, generator=generator) < rate
    shift = torch.randint(1, 10, (160,), generator=generator)
    given = torch.where(flip, (truth + shift) % 10, truth)
    report = audit(given, sure_of(truth, 0.8, 10))
    assert report.can_tell
    first = {entry.file for entry in report.entries[: int(flip.sum())]}
    assert first == {f"{i}.jpg" for i in flip.nonzero().flatten().tolist()}


def test_a_list_of_more_than_half_says_so() -> None:
    truth = torch.arange(160) % 10
    given = torch.where(torch.arange(160) < 100, (truth + 1) % 10, truth)
    report = audit(given, sure_of(truth, 0.8, 10))
    assert report.can_tell
    assert len(report.suspects) == 100
    assert "More than half of the labels are suspect" in report.why
    few = torch.where(torch.arange(160) < 40, (truth + 1) % 10, truth)
    assert "More than half" not in audit(few, sure_of(truth, 0.8, 10)).why


# ------------------------------------------------------------------------------------ noise rate


def test_the_noise_rate_is_reported_in_words() -> None:
    given = torch.arange(30) % 3
    rate = NoiseRate(0.18, 0.12, 0.251)
    report = audit(given, sure_of(given), noise_rate=rate)
    assert report.noise_rate == rate
    expected = "About 18% of the labels are wrong (90 % interval: 12% to"
    assert f"{expected} 25%)." in report.why


def swapped_cats_and_dogs() -> tuple[Tensor, Tensor]:
    """60 labels and predicted classes, which swap half of the cats and dogs."""
    given = torch.tensor([0, 1, 2]).repeat(20)
    predicted = given.clone()
    predicted[:30] = torch.tensor([1, 0, 2]).repeat(10)
    return given, predicted


def why_of(
    given: Tensor, predicted: Tensor, *, wrong: Tensor | None = None, **settings: Any
) -> str:
    """What the audit says of labels that the noise model takes for right, but for `wrong` (N,)."""
    right = given if wrong is None else torch.where(wrong, predicted, given)
    rate, n_classes = NoiseRate(0.2, 0.1, 0.5), int(given.max()) + 1
    posterior, tuned = (sure_of(each, n_classes=n_classes) for each in (right, predicted))
    return audit(given, tuned, posterior=posterior, noise_rate=rate, **settings).why


def test_classes_that_are_swapped_are_named() -> None:
    given, predicted = swapped_cats_and_dogs()
    assert "look like those of another (cat and dog)" in why_of(given, predicted)
    assert "look like" not in audit(given, sure_of(predicted), posterior=sure_of(given)).why
    predicted[:3] = given[:3]
    assert "look like" not in why_of(given, predicted)  # fewer than a third of the photos


@pytest.mark.parametrize("n_classes", [2, 3])
def test_swapped_classes_are_not_named_if_most_of_these_labels_are_suspect(n_classes: int) -> None:
    given = torch.arange(240) % n_classes
    predicted = torch.where(torch.arange(240) < 90, (given + 1) % n_classes, given)
    named = "look like those of another (class 0 and class 1" if n_classes == 2 else "(cat and dog"
    assert named in why_of(given, predicted)
    assert named in why_of(given, predicted, wrong=torch.arange(240) < 55)
    assert "look like" not in why_of(given, predicted, wrong=torch.arange(240) < 65)


def test_swapped_classes_are_not_named_once_a_person_has_decided() -> None:
    given, predicted = swapped_cats_and_dogs()
    swapped = predicted != given
    assert "look like" not in why_of(given, predicted, kept=swapped)
    assert "look like" not in why_of(given, predicted, kept=torch.ones_like(swapped))
    assert "(cat and dog)" in why_of(given, predicted, kept=~swapped)
    copies = np.append(np.arange(57), [0, 3, 6])  # the last three photos are copies
    assert "(cat and dog)" in why_of(given, predicted, groups=copies)
    kept = torch.arange(60) >= 57
    kept |= swapped & (torch.arange(60) > 8)
    assert "look like" not in why_of(given, predicted, kept=kept, groups=copies)


def test_no_noise_rate_without_a_ranking() -> None:
    given = torch.arange(60) % 3
    report = audit(given, sure_of((given + 1) % 3), noise_rate=NoiseRate(0.9, 0.8, 1.0))
    assert report.noise_rate is None
    assert "About" not in report.why


def test_audits_without_a_noise_rate_can_still_be_read() -> None:
    given = torch.arange(30) % 3
    stored = audit(given, sure_of(given)).to_dict()
    del stored["noise_rate"]
    report = AuditReport.from_dict(stored)
    assert report.noise_rate is None
    assert len(report.entries) == 30


# ----------------------------------------------------------------------------------------- edges


def test_labels_of_one_class_are_not_ranked() -> None:
    given = torch.zeros(10, dtype=torch.long)
    report = audit(given, sure_of(given))
    assert not report.can_tell
    assert report.suspects == ()


def test_no_files() -> None:
    report = audit(torch.zeros(0, dtype=torch.long), torch.zeros(0, 3))
    assert not report.can_tell
    assert report.entries == ()
    assert "nan" not in report.why


def test_a_class_that_no_file_carries_can_be_suggested() -> None:
    given = torch.arange(30) % 2
    tuned = sure_of(given)
    tuned[7] = torch.tensor([0.02, 0.03, 0.95])
    report = audit(given, tuned)
    assert report.suspects[0].suggested == "fox"


def test_json_and_back(planted: tuple[Tensor, Tensor, list[int]]) -> None:
    given, tuned, _ = planted
    report = audit(given, tuned, noise_rate=NoiseRate(0.1, 0.05, 0.2))
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["noise_rate"] == {"estimate": 0.1, "low": 0.05, "high": 0.2}
    assert data["suspects"] == 3
    assert len(data["entries"]) == 30
    assert set(data["entries"][0]) == {
        "file",
        "given",
        "suggested",
        "score",
        "p_tuned",
        "p_zero_shot",
        "suppression",
        "suspect",
        "held_out",
        "group",
        "kept",
    }
    assert AuditReport.from_dict(data) == report


def test_held_out_files(planted: tuple[Tensor, Tensor, list[int]]) -> None:
    given, tuned, _ = planted
    report = audit(given, tuned)
    files = {entry.file for entry in report.entries[3:5]}
    marked = report.with_held_out(files)
    assert {entry.file for entry in marked.entries if entry.held_out} == files
    old = marked.to_dict()
    for entry in old["entries"]:
        del entry["held_out"]  # as an earlier version wrote it
    assert AuditReport.from_dict(old) == report


def test_a_confirmed_label_is_not_suspect_again(
    planted: tuple[Tensor, Tensor, list[int]],
) -> None:
    given, tuned, wrong = planted
    kept = torch.zeros(len(given), dtype=torch.bool)
    kept[wrong[0]] = True
    before, after = audit(given, tuned), audit(given, tuned, kept=kept)
    assert {entry.file for entry in before.suspects} - {entry.file for entry in after.suspects} == {
        f"{wrong[0]}.jpg"
    }
    last = after.entries[-1]
    assert (last.file, last.kept, last.suspect, last.score) == (f"{wrong[0]}.jpg", True, False, 0.0)
    assert [entry.file for entry in after.entries if entry.kept] == [last.file]
    others = [entry for entry in before.entries if entry.file != last.file]
    assert list(after.entries[:-1]) == others


def test_a_confirmed_label_is_right_for_the_copies_of_the_photo() -> None:
    given = torch.tensor([0, 1, 0, *[0, 1, 2] * 10])
    tuned = sure_of(torch.tensor([1, 1, 1, *[0, 1, 2] * 10]))  # the confirmed one looks wrong
    kept = torch.zeros(len(given), dtype=torch.bool)
    kept[0] = True
    groups = np.array([0, 0, 0, *range(1, 31)])
    entries = {entry.file: entry for entry in audit(given, tuned, kept=kept, groups=groups).entries}
    assert not entries["0.jpg"].suspect
    assert not entries["2.jpg"].suspect
    other = entries["1.jpg"]
    assert (other.suspect, other.kept, other.suggested) == (True, False, "cat")
