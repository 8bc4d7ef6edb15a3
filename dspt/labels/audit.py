"""Which labels to check: every file is scored by models that were not tuned on it.

Cross-fitting (Northcutt et al., JAIR 2021) prevents a model from agreeing with a label that it has
memorised. A model of the label noise (dspt.labels.noise_model) combines the prediction of such a
model with the recorded label; its posterior ranks the labels.

The posterior is averaged over the optima of the ensemble. No other ranking that was tried is
better: mixtures with neighbours in feature space, suppression, zero-shot CLIP, cross-validated
logistic regression (figures: benchmarks/results/audit_rankings.md). A label is suspect if it is
more likely wrong than right. The thresholds of confident learning (Northcutt et al., eq. 1) flagged
11 and 17 % of the correct labels of two sets of clothes; this rule flagged 0 to 6 % on these and
three more sets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dspt.data.splits import without_copies
from dspt.labels.expected import wrong_probabilities
from dspt.labels.noise_rate import NoiseRate, swapped_pairs

CLEAR_OF_CHANCE = 3.0
"""Standard errors by which agreement with the labels must exceed chance."""
_PAIRS_NAMED = 3
_LEFT = 1 / 3
"""Share of the labels that disagree with the predictions and yet are not suspect, from which on the
audit says that it cannot tell."""


@dataclass(frozen=True)
class AuditEntry:
    """One training file: its label, how likely it is wrong, and the likeliest other class."""

    file: str
    given: str
    """The recorded label."""
    suggested: str
    """The likeliest class other than `given`."""
    score: float
    """Probability that the label is wrong, given all evidence."""
    p_tuned: float
    """Probability of `given` by the ensemble, cross-fitted up to the soft labels of its EM."""
    p_zero_shot: float | None
    """The same by zero-shot; None where the predictions come from elsewhere."""
    suppression: float
    """|DSPT gradient| / |cross-entropy gradient|: near 0, DSPT ignores the label as noise."""
    suspect: bool
    """Whether to check the label: it is more likely wrong than right."""
    held_out: bool = False
    """Whether accuracy was measured on this file; the classifier was not tuned on it."""
    group: int | None = None
    """Number that the copies of a photo share; None for a photo without copies."""
    kept: bool = False
    """Whether a person has corrected or confirmed the label; it is then never suspect."""


@dataclass(frozen=True)
class AuditReport:
    """All training files, the most suspicious first."""

    can_tell: bool
    """False if the ranking is no better than chance; then no label is suspect."""
    why: str
    entries: tuple[AuditEntry, ...]
    noise_rate: NoiseRate | None = None
    """Share of wrong labels; None if it cannot be estimated."""

    @property
    def suspects(self) -> tuple[AuditEntry, ...]:
        return tuple(entry for entry in self.entries if entry.suspect)

    def __repr__(self) -> str:
        rate = f", about {self.noise_rate.estimate:.0%} wrong" if self.noise_rate else ""
        return f"<AuditReport: {len(self.entries)} labels, {len(self.suspects)} suspect{rate}>"

    def expected_wrong(self, count: int, *, after: int = 0) -> float:
        """Return the expected number of wrong labels among `count` entries after the first `after`.

        It shows how far down the list checking labels is worth it. 0 if the ranking is no better
        than chance.
        """
        return float(self._wrong()[after : after + count].sum())

    def _wrong(self) -> NDArray[np.float64]:
        """Return the calibrated probability that each label is wrong: (N,).

        A label is certain where a person has confirmed it, or another one of a copy of its photo.
        """
        found = np.array([entry.score for entry in self.entries])
        if not self.can_tell:
            return np.zeros_like(found)
        confirmed = {entry.group for entry in self.entries if entry.kept} - {None}
        certain = np.array([e.kept or e.group in confirmed for e in self.entries], dtype=bool)
        rate = self.noise_rate
        total = found.sum() if rate is None else rate.estimate * len(found)
        left = np.clip(total - found[certain].sum(), 0, (~certain).sum())
        found[~certain] = wrong_probabilities(found[~certain], float(left))
        return found

    def _expected_steps(self) -> list[dict[str, float]]:
        """Return the expected wrong labels among the first 10, 20, 50, 100, ... and all entries."""
        n, total = len(self.entries), self._wrong().cumsum()
        if not self.can_tell or not n:
            return []
        powers = [base * 10**power for power in range(1, len(str(n))) for base in (1, 2, 5)]
        firsts = [*(step for step in powers if step < n), n]
        return [{"first": first, "wrong": round(float(total[first - 1]), 2)} for first in firsts]

    def with_files(self, files: Sequence[str]) -> Self:
        """Replace each `file`, an index as text, by that entry of `files`."""
        entries = (replace(entry, file=files[int(entry.file)]) for entry in self.entries)
        return replace(self, entries=tuple(entries))

    def with_held_out(self, files: Collection[str]) -> Self:
        """Mark the entries of these files as held out."""
        entries = (replace(entry, held_out=entry.file in files) for entry in self.entries)
        return replace(self, entries=tuple(entries))

    def to_dict(self) -> dict[str, Any]:
        return {
            "can_tell": self.can_tell,
            "why": self.why,
            "noise_rate": asdict(self.noise_rate) if self.noise_rate else None,
            "suspects": len(self.suspects),
            "expected_wrong": self._expected_steps(),
            "entries": [asdict(entry) for entry in self.entries],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Restore from `to_dict`. Older audits have no noise rate and no held-out files."""
        entries = tuple(AuditEntry(**entry) for entry in data["entries"])
        rate = data.get("noise_rate")
        return cls(data["can_tell"], data["why"], entries, NoiseRate(**rate) if rate else None)


def audit_labels(
    files: Sequence[str],
    classes: Sequence[str],
    labels: Tensor,
    *,
    log_p: Tensor,
    posterior: Tensor,
    suppressed: Tensor,
    zero_shot: Tensor | None = None,
    noise: Tensor | None = None,
    noise_rate: NoiseRate | None = None,
    groups: NDArray[np.int64] | None = None,
    kept: Tensor | None = None,
) -> AuditReport:
    """Rank the training files by the probability that their label is wrong.

    labels: (N,) class of each file; log_p: (N, C) cross-fitted log probabilities; posterior:
    (N, C) probability of the true class, given the image and its label; zero_shot: (N, C)
    probabilities; suppressed: (N,) `suppression` of the tuned prompt; noise_rate: reported if the
    ranking is better than chance; groups: (N,), equal for copies of a photo; noise: (C, C), the
    noise matrix of the posterior; kept: (N,) bool, labels that a person has confirmed. Copies with
    different labels are several annotations of one photo: the posterior of each takes the others
    into account. A confirmed label is right for all copies.
    """
    if not files:
        return AuditReport(False, "there are no labels to check.", ())
    if groups is None:
        groups = np.arange(len(files))
    if kept is None:
        kept = torch.zeros_like(labels, dtype=torch.bool)
    # From here on rows are read one by one, which would wait for a GPU each time.
    posterior, labels, log_p, suppressed, kept = (
        tensor.cpu() for tensor in (posterior, labels, log_p, suppressed, kept)
    )
    zero_shot = None if zero_shot is None else zero_shot.cpu()
    if noise is not None:
        posterior = _with_labels_of_copies(posterior, labels, noise.cpu(), groups)
    posterior = _with_confirmed_labels(posterior, labels, kept, groups)
    p_right = _of_label(posterior, labels)
    p_tuned = _of_label(log_p.exp(), labels)
    p_zero_shot = None if zero_shot is None else _of_label(zero_shot, labels)
    suggested = posterior.scatter(1, labels[:, None], -1).argmax(1)
    rows = without_copies(np.arange(len(files)), groups, labels.cpu().numpy())
    distinct = torch.from_numpy(rows).to(labels.device)
    can_tell, why = _better_than_chance(log_p[distinct], labels[distinct])
    if not can_tell:
        noise_rate = None
    if noise_rate is not None:
        why += (
            f" About {noise_rate.estimate:.0%} of the labels are wrong (90 % interval: "
            f"{noise_rate.low:.0%} to {noise_rate.high:.0%})."
        )
        decided = np.isin(groups[rows], groups[kept.numpy()])
        unsure = distinct[torch.from_numpy(~decided)]
        why += _about_swaps(log_p[unsure], labels[unsure], p_right[unsure], classes)
    suspect = (p_right < 0.5) & can_tell
    if suspect.float().mean() > 0.5:
        why += (
            " More than half of the labels are suspect: either most are wrong, or the classes are "
            "too hard for the backbone. Check some of them before you act on the list."
        )
    # Ties in the posterior, such as images without support in other folds, are in the order of
    # the classifier's own probability.
    order = p_tuned.argsort(stable=True)
    order = order[p_right[order].argsort(stable=True)]
    counts = np.bincount(groups)
    given, other = labels.tolist(), suggested.tolist()
    right, by_tuned = p_right.tolist(), p_tuned.tolist()
    by_zero_shot = [None] * len(files) if p_zero_shot is None else p_zero_shot.tolist()
    ratios, suspects, confirmed = suppressed.tolist(), suspect.tolist(), kept.tolist()
    entries = tuple(
        AuditEntry(
            file=files[i],
            given=classes[given[i]],
            suggested=classes[other[i]],
            score=1 - right[i],
            p_tuned=by_tuned[i],
            p_zero_shot=by_zero_shot[i],
            suppression=ratios[i],
            suspect=suspects[i],
            group=int(groups[i]) if counts[groups[i]] > 1 else None,
            kept=confirmed[i],
        )
        for i in order.tolist()
    )
    return AuditReport(can_tell, why, entries, noise_rate)


def _about_swaps(log_p: Tensor, labels: Tensor, p_right: Tensor, classes: Sequence[str]) -> str:
    """Return what to know of classes that labels and predictions swap.

    Nothing if nearly all of these labels are suspect: then the evidence shows that they are wrong.
    """
    pairs = swapped_pairs(log_p, labels)
    if not pairs:
        return ""
    left = p_right[log_p.argmax(1) != labels] >= 0.5
    if left.float().mean() < _LEFT:
        return ""
    named = ", ".join(f"{classes[a]} and {classes[b]}" for a, b in pairs[:_PAIRS_NAMED])
    more = f", and {len(pairs) - _PAIRS_NAMED} more" if len(pairs) > _PAIRS_NAMED else ""
    return (
        f" Many photos of one class look like those of another ({named}{more}). The photos cannot "
        "show whether these labels are wrong or the classes look alike, so the interval includes "
        "both. Check labels of these classes: a confirmed or corrected label decides."
    )


def _of_label(probabilities: Tensor, labels: Tensor) -> Tensor:
    return probabilities.gather(1, labels[:, None]).squeeze(1)


def _with_labels_of_copies(
    posterior: Tensor, labels: Tensor, noise: Tensor, groups: NDArray[np.int64]
) -> Tensor:
    """Multiply the posterior (N, C) of each image by the likelihood of its copies' other labels."""
    labels_of: dict[int, set[int]] = {}
    for group, label in zip(groups.tolist(), labels.tolist(), strict=True):
        labels_of.setdefault(group, set()).add(label)
    found = posterior.clone()
    for row, (group, label) in enumerate(zip(groups.tolist(), labels.tolist(), strict=True)):
        for other in labels_of[group] - {label}:
            found[row] *= noise[:, other]
    return found / found.sum(1, keepdim=True)


def _with_confirmed_labels(
    posterior: Tensor, labels: Tensor, kept: Tensor, groups: NDArray[np.int64]
) -> Tensor:
    """Return the posterior (N, C) with certainty for confirmed labels and for their copies."""
    of_group = {int(groups[row]): int(labels[row]) for row in kept.nonzero()[:, 0].tolist()}
    found = posterior.clone()
    for row, group in enumerate(groups.tolist() if of_group else ()):
        if group in of_group:
            right = int(labels[row]) if kept[row] else of_group[group]
            found[row] = 0
            found[row, right] = 1
    return found


def _better_than_chance(probabilities: Tensor, labels: Tensor) -> tuple[bool, str]:
    """Whether held-out predictions agree with the labels more often than chance; the reason."""
    predicted = probabilities.argmax(1)
    n, n_classes = probabilities.shape
    agreement = float((predicted == labels).float().mean())
    share_labels = torch.bincount(labels, minlength=n_classes).double() / n
    share_predicted = torch.bincount(predicted, minlength=n_classes).double() / n
    chance = float((share_labels * share_predicted).sum())
    error = (chance * (1 - chance) / n) ** 0.5
    figures = (
        f"in cross-validation the models agree with {agreement:.1%} of the labels; chance would "
        f"give {chance:.1%}"
    )
    if agreement - chance <= CLEAR_OF_CHANCE * error:
        return False, (
            f"{figures}. The ranking is no better than chance, so no label is marked as suspect. "
            "More images, cleaner labels, class names that describe the images, or a stronger "
            "backbone would help."
        )
    return True, f"{figures}."
