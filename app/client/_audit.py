"""The labels to check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from app.jobs.schemas import AuditEntryView, AuditView
from dspt.kit.files import atomic_write

if TYPE_CHECKING:
    import pandas


class Audit(AuditView):
    """All training files, the most suspicious first."""

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def to_check(self) -> list[AuditEntryView]:
        """The entries whose label is likelier wrong than right."""
        return [entry for entry in self.entries if entry.suspect]

    def to_pandas(self) -> pandas.DataFrame:
        """A row per file. Raises ImportError where pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "to_pandas() needs pandas: pip install pandas. `entries` are there without it."
            ) from error
        columns = list(AuditEntryView.model_fields)
        return pandas.DataFrame(self._rows(), columns=columns)

    def to_csv(self, path: str | Path) -> None:
        """The table to fill in: the right class, or `drop`, into its column `correct_label`."""
        from dspt.labels.audit_csv import audit_csv

        atomic_write(Path(path), audit_csv(self._rows()))

    def _rows(self) -> Iterator[dict[str, object]]:
        return (entry.model_dump() for entry in self.entries)
