"""Which labels to check: every file judged by models that were not tuned on it.

Cross-fitting (Northcutt et al., JAIR 2021) keeps a model from agreeing with a label just because
it has learned it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from dspt.losses import suppression

CLEAR_OF_CHANCE = 3.0
"""Standard errors by which agreement with the given labels must exceed chance."""


@dataclass(frozen=True)
class AuditEntry:
    """One training file: how likely its given label is wrong, and what it may be instead."""

    file: str
    given: str
    suggested: str
    """The likeliest class other than the given one."""
    score: float
    """1 - probability of the given label, by models not tuned on this file; high is suspicious."""
    p_tuned: float
    """Probability of the given label, by the models not tuned on this file."""
    p_zero_shot: float
    suppression: float
    """|DSPT gradient| / |cross-entropy gradient|: near 0, the label would be ignored as noise."""
    suspect: bool
    """Whether a person should look: another class is likelier than the given one."""


@dataclass(frozen=True)
class AuditReport:
    """All training files, the most suspicious first."""

    can_tell: bool
    """False where the ranking is no better than chance; then nothing is called suspect."""
    why: str
    entries: tuple[AuditEntry, ...]

    @property
    def suspects(self) -> tuple[AuditEntry, ...]:
        return tuple(entry for entry in self.entries if entry.suspect)

    def to_dict(self) -> dict[str, Any]:
        return {
            "can_tell": self.can_tell,
            "why": self.why,
            "suspects": len(self.suspects),
            "entries": [asdict(entry) for entry in self.entries],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        entries = tuple(AuditEntry(**entry) for entry in data["entries"])
        return cls(data["can_tell"], data["why"], entries)


def audit_labels(
    files: Sequence[str],
    classes: Sequence[str],
    given: Tensor,
    tuned: Tensor,
    zero_shot: Tensor,
) -> AuditReport:
    """Rank the training files by how likely their given label is wrong.

    given: (N,) class of each file; tuned: (losses, N, C) out-of-sample probabilities of models
    tuned with several losses; zero_shot: (N, C).
    """
    if not files:
        return AuditReport(False, "there are no labels to judge.", ())
    mean = tuned.mean(0)
    p_given = _of_given(mean, given)
    p_zero_shot = _of_given(zero_shot, given)
    others = mean.scatter(1, given[:, None], -1)
    suggested = others.argmax(1)
    ratio = suppression(mean.clamp_min(1e-12).log(), given)
    can_tell, why = _better_than_chance(mean, given)
    suspect = _confidently_other(mean, given, suggested) & can_tell
    if suspect.float().mean() > 0.5:
        why += (
            " More than half of the labels are in question: either most are wrong, or the classes "
            "are too hard for the backbone. Look at some before you act on the list."
        )
    order = p_given.argsort(stable=True).tolist()
    entries = tuple(
        AuditEntry(
            file=files[i],
            given=classes[int(given[i])],
            suggested=classes[int(suggested[i])],
            score=1 - float(p_given[i]),
            p_tuned=float(p_given[i]),
            p_zero_shot=float(p_zero_shot[i]),
            suppression=float(ratio[i]),
            suspect=bool(suspect[i]),
        )
        for i in order
    )
    return AuditReport(can_tell, why, entries)


def _of_given(probabilities: Tensor, given: Tensor) -> Tensor:
    return probabilities.gather(1, given[:, None]).squeeze(1)


def _confidently_other(probabilities: Tensor, given: Tensor, suggested: Tensor) -> Tensor:
    """Confident learning's rule (Northcutt et al., JAIR 2021, eq. 1): another class is both the
    likeliest and at least as likely as it is, on average, for the images that carry its label.
    """
    n_classes = probabilities.shape[1]
    own = _of_given(probabilities, given)
    counts = torch.bincount(given, minlength=n_classes).clamp_min(1)
    thresholds = torch.zeros_like(probabilities[0]).scatter_add(0, given, own) / counts
    p_other = _of_given(probabilities, suggested)
    return (p_other > own) & (p_other >= thresholds[suggested])


def _better_than_chance(probabilities: Tensor, given: Tensor) -> tuple[bool, str]:
    """Whether models that did not see a label agree with it more often than chance would."""
    predicted = probabilities.argmax(1)
    n, n_classes = probabilities.shape
    agreement = float((predicted == given).float().mean())
    share_given = torch.bincount(given, minlength=n_classes).double() / n
    share_predicted = torch.bincount(predicted, minlength=n_classes).double() / n
    chance = float((share_given * share_predicted).sum())
    error = (chance * (1 - chance) / n) ** 0.5
    said = f"{agreement:.1%} of the given labels, where chance would give {chance:.1%}"
    if agreement - chance <= CLEAR_OF_CHANCE * error:
        return False, (
            f"models that were not tuned on an image agree with {said}: the ranking is no better "
            "than chance, so no label is called wrong. More images, cleaner labels, class words "
            "that describe what is seen, or a stronger backbone would help."
        )
    return True, f"models that were not tuned on an image agree with {said}."
