"""The labels to check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dspt_client._files import atomic_write
from dspt_client._spreadsheet import audit_csv
from dspt_client.schemas.jobs import AuditEntryView, AuditView

if TYPE_CHECKING:
    import pandas


class Audit(AuditView):
    """All training files, most suspicious first."""

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def to_check(self) -> list[AuditEntryView]:
        """Return the entries whose label is more likely wrong than right."""
        return [entry for entry in self.entries if entry.suspect]

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with one row per file. Raises ImportError if pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "to_pandas() needs pandas: pip install pandas. Without it, use `entries`."
            ) from error
        columns = [name for name in AuditEntryView.model_fields if name != "image"]
        return pandas.DataFrame(self._rows(), columns=columns)

    def to_csv(self, path: str | Path) -> None:
        """Write the table of labels; `correct_label` is for the class, `keep` or `drop`."""
        atomic_write(Path(path), audit_csv(self._rows()))

    def _rows(self) -> Iterator[dict[str, object]]:
        return (entry.model_dump(exclude={"image"}) for entry in self.entries)
