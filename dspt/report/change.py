"""What corrections changed: the classifiers before and after them, on the same images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dspt.report.comparison import SIGNIFICANT, Comparison, compare, p_text


@dataclass(frozen=True)
class Prediction:
    """What the served classifier predicts for an image that accuracy is measured on."""

    file: str
    label: str
    """The recorded label."""
    predicted: str
    score: float
    """Probability of `predicted`."""


@dataclass(frozen=True)
class Change:
    """The difference between two classifiers on the images that both were measured on."""

    comparison: Comparison
    """A is the classifier before, B the one after."""
    gained: tuple[str, ...]
    """Files that only the new classifier gets right."""
    lost: tuple[str, ...]
    """Files that only the one before gets right."""

    @classmethod
    def of(
        cls,
        before: Mapping[str, str],
        after: Iterable[Prediction],
        classes_before: Collection[str],
        classes_after: Collection[str],
    ) -> Change:
        """Compare the classifiers by the labels of `after`, which are the corrected ones.

        before: file -> predicted class. Files without a prediction in both are left out. Raises
        DatasetError if no image can be compared.
        """
        rows = [each for each in after if each.file in before]
        compared = compare(
            [each.label for each in rows],
            [before[each.file] for each in rows],
            [each.predicted for each in rows],
            classes_before,
            classes_after,
        )
        known = set(classes_before) & set(classes_after)
        flips = [
            (each.file, each.predicted == each.label)
            for each in rows
            if each.label in known
            and (each.predicted == each.label) is not (before[each.file] == each.label)
        ]
        return cls(
            compared,
            tuple(file for file, right in flips if right),
            tuple(file for file, right in flips if not right),
        )

    @property
    def verdict(self) -> str:
        """Two sentences with the figures."""
        found = self.comparison
        low, high = found.difference_interval
        if found.p_value >= SIGNIFICANT:
            result = "The difference to the job before it is not significant"
        else:
            better = "better" if found.difference > 0 else "worse"
            result = f"Significantly {better} than the job before it"
        return (
            f"{result} (McNemar p {p_text(found.p_value)}): of {found.images:,} held-out or test "
            f"images {len(self.gained):,} are right now that were wrong, and {len(self.lost):,} "
            f"are wrong that were right. Accuracy on them: {found.a.accuracy:.1%} before, "
            f"{found.b.accuracy:.1%} now, {100 * found.difference:+.1f} points (95 % interval "
            f"{100 * low:+.1f} to {100 * high:+.1f})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = self.comparison
        sides = {
            name: {"accuracy": side.accuracy, "accuracy_interval": list(side.accuracy_interval)}
            for name, side in (("before", found.a), ("after", found.b))
        }
        return {
            "images": found.images,
            "left_out": found.left_out,
            **sides,
            "difference": found.difference,
            "difference_interval": list(found.difference_interval),
            "p_value": found.p_value,
            "gained": list(self.gained),
            "lost": list(self.lost),
            "verdict": self.verdict,
        }
