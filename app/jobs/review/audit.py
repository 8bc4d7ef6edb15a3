"""Read the audit of a finished job: whole, page by page, or as a table."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from dspt_client.schemas.jobs import AuditEntryView, AuditView

from app.access.caller import Caller
from app.jobs.review.stored import Stored, find_stored
from app.jobs.review.stored_entries import StoredEntries
from app.kit.context import Context
from app.kit.http.errors import Unprocessable
from app.kit.text_blocks import text_blocks
from dspt.labels.audit_csv import audit_lines

#: Audits of earlier versions have fewer members. Numbers of photos are not stored.
_DEFAULTS = {
    name: field.default
    for name, field in AuditEntryView.model_fields.items()
    if not field.is_required() and name != "image"
}


@dataclass(frozen=True)
class Wanted:
    """Which entries of an audit to return. Default: all."""

    suspect: bool | None = None
    given: str | None = None
    reviewed: bool | None = None
    files_reviewed: Collection[str] = ()
    """Files that have a verdict; needed for `reviewed`."""

    @property
    def all(self) -> bool:
        return {self.suspect, self.given, self.reviewed} == {None}

    def fits(self, entry: Mapping[str, Any]) -> bool:
        return (
            self.suspect in (None, entry["suspect"])
            and self.given in (None, entry["given"])
            and self.reviewed in (None, entry["file"] in self.files_reviewed)
        )


@dataclass(frozen=True)
class Audit:
    """The audit of a job. Its file is open until one of the methods has returned or yielded all."""

    _opened: Stored

    @property
    def _stored(self) -> StoredEntries:
        return self._opened.entries

    @property
    def dataset_id(self) -> str:
        return self._opened.dataset_id

    def page(
        self, wanted: Wanted, numbers: Mapping[str, int], *, after: str | None, limit: int
    ) -> AuditView:
        """Return up to `limit` entries. Raises Unprocessable if `after` is not a cursor.

        numbers: file -> number of its photo.
        """
        found, following = list[AuditEntryView](), 0
        with self._opened.file:
            try:
                for end, entry in self._wanted(wanted, int(after) if after else None):
                    following = end
                    entry["image"] = numbers.get(entry["file"])
                    found.append(AuditEntryView.model_validate(entry))
                    if len(found) == limit:
                        break
                else:
                    following = 0
            except ValueError as error:
                raise Unprocessable("`after` must be `next` of the previous page.") from error
        return self._view(found, following)

    def as_json(self, wanted: Wanted) -> Iterator[bytes]:
        """Yield a JSON document with all entries."""
        with self._opened.file:
            yield self._view([], 0).model_dump_json().encode().removesuffix(b"[]}")
            first = next(self._stored.entries(), None)
            if wanted.all and (first is None or first[1].keys() >= _DEFAULTS.keys()):
                yield from self._stored.raw_entries()
                return
            entries = enumerate(self._wanted(wanted))
            yield b"["
            yield from text_blocks(
                (", " if number else "") + json.dumps(entry) for number, (_, entry) in entries
            )
            yield b"]}"

    def as_csv(self, wanted: Wanted) -> Iterator[bytes]:
        """Yield a table with all entries, to fill in the correct labels."""
        with self._opened.file:
            if not self._stored.is_ascii():
                yield "\ufeff".encode()  # Excel would misread the names
            yield from text_blocks(audit_lines(entry for _, entry in self._wanted(wanted)))

    def given(self) -> Mapping[str, str]:
        """Return file -> its given label."""
        with self._opened.file:
            return {entry["file"]: entry["given"] for _, entry in self._wanted(Wanted())}

    def _wanted(
        self, wanted: Wanted, start: int | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        entries = ((end, _complete(entry)) for end, entry in self._stored.entries(start))
        found = (each for each in entries if wanted.fits(each[1]))
        if wanted == Wanted(suspect=True) and start is None:
            # The rest of the file need not be read.
            return islice(found, self._stored.head["suspects"])
        return found

    def _view(self, entries: list[AuditEntryView], following: int) -> AuditView:
        return AuditView(
            **self._stored.head,
            job_id=self._opened.job_id,
            has_more=following > 0,
            next=str(following) if following else None,
            entries=entries,
        )


def held_out(context: Context, audit_key: str) -> frozenset[str]:
    """Return the files that a job held out; empty if its audit is lost or from an old version."""
    try:
        with context.storage.open(audit_key) as file:
            entries = StoredEntries(file).entries()
            return frozenset(entry["file"] for _, entry in entries if entry.get("held_out"))
    except FileNotFoundError:
        return frozenset()


def find(context: Context, caller: Caller, job_id: str) -> Audit:
    """Open the audit that the worker stored. Raises NotFound, or Conflict if there is none."""
    return Audit(find_stored(context, caller, job_id, "audit", lambda job: job.audit_key))


def _complete(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {name: value for name, value in _DEFAULTS.items() if name not in entry}
