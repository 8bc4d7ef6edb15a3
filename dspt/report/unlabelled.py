"""Report photos without labels: how many are used, why others are not, and what they change."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dspt.config import ClassifierName
from dspt.report.finding import HealthFinding


@dataclass(frozen=True)
class UnlabelledReport:
    """Photos without labels of a data set."""

    photos: int
    used: int
    accuracy_without: float | None
    """Accuracy of the tuned classifier without them; None if none is used."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def findings(self, copies: int, classifier: ClassifierName) -> list[HealthFinding]:
        """At most one finding, if photos are not used. copies: photos that are one of another."""
        if self.used == self.photos:
            return []
        if classifier == "prompt":
            text = (
                "the photos in unlabelled/ are not used: they move the class means, which "
                "classifier=prompt leaves out"
            )
        elif self.used or copies == self.photos:
            text = (
                "photos in unlabelled/ that are copies of labelled photos or of each other are not "
                f"used: {copies:,} of {self.photos:,}"
            )
        else:
            text = (
                "the photos in unlabelled/ are not used: no held-out labels show that they improve "
                "the classifier"
            )
        return [HealthFinding.of("unlabelled_unused", text, count=self.photos - self.used)]
