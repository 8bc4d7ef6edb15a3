"""Save the verdicts of people on the labels of a job, and read them.

Every verdict is a row that is never changed; the newest one of a file counts. The number of the
newest row is the version of the review, so that a client reads only what has changed since.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from dspt_client.schemas.reviews import (
    ReviewCounts,
    ReviewHistory,
    ReviewView,
    Verdict,
    VerdictEvent,
    VerdictView,
)
from sqlalchemy import Row, Select, func, insert, select
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.jobs import service
from app.jobs.review import audit
from app.jobs.review.stored import check_finished
from app.kit.cache import SizedCache
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.http.errors import Conflict, PreconditionFailed
from app.tables.access import ApiKey
from app.tables.jobs import Job
from app.tables.reviews import ReviewVerdict
from dspt.labels.corrections import Corrections

#: Labels of audits that stay in memory while they are reviewed.
_AUDITS, _AUDITS_BYTES, _BYTES_PER_FILE = 32, 64 * 1024**2, 300
#: Verdicts that a review may have, in all and per file; undone and replaced ones count.
_LEAST_LIMIT, _PER_FILE = 10_000, 20
#: Beyond, all verdicts are read rather than those of named files.
_FILES_IN_QUERY = 1000

_V = ReviewVerdict.__table__.c


class Reviews:
    """The reviews of all jobs. Thread-safe."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._given: SizedCache[Mapping[str, str]] = SizedCache(_AUDITS, _AUDITS_BYTES)

    def get(self, caller: Caller, job_id: str, since: int | None = None) -> ReviewView:
        """Return the verdicts, or with `since` only those given after that version.

        Raises NotFound, and Conflict if the job has no audit.
        """
        with self._context.database.read() as session:
            _reviewed(session, caller, job_id)
            return _view(session, job_id, _version(session, job_id), since)

    def version(self, caller: Caller, job_id: str) -> int:
        """Return the current version. Raises as `get` does."""
        with self._context.database.read() as session:
            _reviewed(session, caller, job_id)
            return _version(session, job_id)

    def save(
        self,
        caller: Caller,
        job_id: str,
        verdicts: Mapping[str, Verdict | None],
        *,
        version: int | None = None,
        since: int | None = None,
    ) -> ReviewView:
        """Save verdicts, or with None undo them, and return what has changed.

        version: refuse if the review has another one; since: return all changes after this version.
        Default: those of this call. A verdict that the file has already changes nothing. Raises
        NotFound, Conflict, PreconditionFailed, and DatasetError with all unknown names.
        """
        verdicts = {unicodedata.normalize("NFC", file): each for file, each in verdicts.items()}
        with self._context.database.read() as session:
            job = _reviewed(session, caller, job_id)
        given = self._labels(caller, job)
        classes = _classes(job)
        new = {each.label for each in verdicts.values() if each and each.label and each.new_class}
        _corrections(verdicts, new).check_names(classes, given, words=job.class_names)
        with self._context.database.write() as session:
            _reviewed(session, caller, job_id, lock=True)  # one writer at a time
            before = _version(session, job_id)
            if version not in (None, before):
                raise PreconditionFailed(
                    f"The review has version {before}, not {version}: another verdict was saved. "
                    "Read it again with `?since=` and repeat the request.",
                    code="review_changed",
                )
            changed = _changes(session, job_id, verdicts, classes)
            if before + len(changed) > max(_LEAST_LIMIT, _PER_FILE * len(given)):
                raise Conflict(
                    "The review has too many verdicts that were undone or replaced. Create a job "
                    "from it with `POST /jobs/{job_id}/corrections` and go on there.",
                    code="review_full",
                )
            if changed:
                origin = {"key_id": caller.key_id, "at": database_now(session)}
                rows = [
                    {"job_id": job_id, "seq": before + number, **values, **origin}
                    for number, values in enumerate(changed, 1)
                ]
                session.execute(insert(ReviewVerdict), rows)
            return _view(session, job_id, before + len(changed), before if since is None else since)

    def history(self, caller: Caller, job_id: str, *, after: int, limit: int) -> ReviewHistory:
        """Return up to `limit` verdicts after number `after`, oldest first. Raises as `get`."""
        with self._context.database.read() as session:
            _reviewed(session, caller, job_id)
            query = _verdicts(job_id).where(_V.seq > after).order_by(_V.seq).limit(limit + 1)
            rows = session.execute(query).all()
        events = [
            VerdictEvent(id=row.seq, file=row.file, verdict=_verdict(row), by=row.name, at=row.at)
            for row in rows[:limit]
        ]
        more = len(rows) > limit
        return ReviewHistory(data=events, has_more=more, next=events[-1].id if more else None)

    def _labels(self, caller: Caller, job: Job) -> Mapping[str, str]:
        """Return file -> given label; an audit never changes."""
        found = self._given.get(job.id)
        if found is None:
            found = audit.find(self._context, caller, job.id).given()
            self._given.put(job.id, found, _BYTES_PER_FILE * len(found))
        return found


def corrections_of(session: Session, job: Job) -> Corrections:
    """Return the verdicts on a job as corrections."""
    found = {row.file: _verdict(row) for row in _newest(session, job.id)}
    new = {each.label for each in found.values() if each and each.label} - set(_classes(job))
    return _corrections({file: each for file, each in found.items() if each}, new)


def files_reviewed(context: Context, job_id: str) -> frozenset[str]:
    """Return the files of a job that have a verdict."""
    with context.database.read() as session:
        rows = _newest(session, job_id)
    return frozenset(row.file for row in rows if row.action is not None)


def _reviewed(session: Session, caller: Caller, job_id: str, *, lock: bool = False) -> Job:
    job = service.find(session, caller, job_id, lock=lock)
    check_finished(job, "audit", job.audit_key)
    return job


def _classes(job: Job) -> list[str]:
    assert job.dataset_report is not None  # an audit exists, so the data set was validated
    classes: list[str] = job.dataset_report["classes"]
    return classes


def _corrections(
    verdicts: Mapping[str, Verdict | VerdictView | None], new_classes: Iterable[str]
) -> Corrections:
    """Undone files become kept ones, so that their names are checked too."""
    relabel = {f: v.label for f, v in verdicts.items() if v is not None and v.label is not None}
    drop = {file for file, v in verdicts.items() if v is not None and v.action == "drop"}
    keep = verdicts.keys() - relabel.keys() - drop
    return Corrections.of(relabel, drop, keep, dict.fromkeys(new_classes))


def _changes(
    session: Session,
    job_id: str,
    verdicts: Mapping[str, Verdict | None],
    classes: Sequence[str],
) -> list[dict[str, Any]]:
    """Return the values of the verdicts that differ from the current ones."""
    rows = _newest(session, job_id, files=verdicts.keys())
    current = {row.file: (row.action, row.label) for row in rows}
    known, found = set(classes), []
    for file, verdict in verdicts.items():
        label = None
        if verdict is not None and verdict.label is not None:
            label = unicodedata.normalize("NFC", verdict.label)
        action = None if verdict is None else verdict.action
        if current.get(file, (None, None)) != (action, label):
            new_class = label is not None and label not in known
            found.append({"file": file, "action": action, "label": label, "new_class": new_class})
    return found


def _version(session: Session, job_id: str) -> int:
    return session.scalar(select(func.max(_V.seq)).where(_V.job_id == job_id)) or 0


def _verdicts(job_id: str) -> Select[Any]:
    """Return a query of verdicts with the names of their keys."""
    columns = (_V.seq, _V.file, _V.action, _V.label, _V.new_class, _V.at, ApiKey.name)
    query = select(*columns).outerjoin_from(ReviewVerdict, ApiKey, ApiKey.id == _V.key_id)
    return query.where(_V.job_id == job_id)


def _newest(
    session: Session, job_id: str, *, since: int = 0, files: Collection[str] | None = None
) -> Sequence[Row[Any]]:
    """Return the newest verdict of each file after version `since`, in order.

    files: only of these; of all if there are many.
    """
    numbers = select(func.max(_V.seq)).where(_V.job_id == job_id, _V.seq > since)
    if files is not None and len(files) <= _FILES_IN_QUERY:
        numbers = numbers.where(_V.file.in_(files))
    query = _verdicts(job_id).where(_V.seq.in_(numbers.group_by(_V.file))).order_by(_V.seq)
    return session.execute(query).all()


def _view(session: Session, job_id: str, version: int, since: int | None) -> ReviewView:
    """version: read before the verdicts; newer ones appear again in the next changes."""
    numbers = select(func.max(_V.seq)).where(_V.job_id == job_id).group_by(_V.file)
    counts = select(_V.action, func.count()).where(
        _V.job_id == job_id, _V.seq.in_(numbers), _V.action.is_not(None)
    )
    found = {row.file: _verdict(row) for row in _newest(session, job_id, since=since or 0)}
    if since is None:
        found = {file: verdict for file, verdict in found.items() if verdict is not None}
    by_action = {row[0]: row[1] for row in session.execute(counts.group_by(_V.action))}
    return ReviewView(
        job_id=job_id,
        version=version,
        verdicts=found,
        counts=ReviewCounts(**by_action),
    )


def _verdict(row: Row[Any]) -> VerdictView | None:
    if row.action is None:
        return None
    return VerdictView(
        action=row.action, label=row.label, new_class=row.new_class, by=row.name, at=row.at
    )
