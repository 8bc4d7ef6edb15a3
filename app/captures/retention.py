"""Delete captured predictions by number and age, and those of deleted models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, func, or_, select

from app.kit import storage_keys
from app.kit.context import Context
from app.kit.db import database_now
from app.tables.captures import CapturedPrediction

_C = CapturedPrediction
#: Photos of one transaction.
_BATCH = 500


def prune(context: Context, model_id: str) -> int:
    """Delete what a model has beyond the largest number; return how many.

    The oldest are deleted first, and those with feedback last.
    """
    most = context.settings.max_captured_per_model
    with context.database.read() as session:
        count = session.scalar(select(func.count()).where(_C.model_id == model_id)) or 0
        if count <= most:
            return 0
        order = _C.label.is_not(None), _C.id
        query = select(_C.id).where(_C.model_id == model_id).order_by(*order).limit(count - most)
        ids = session.scalars(query).all()
    return remove(context, ids)


def expire(context: Context, *, dry_run: bool = False) -> Iterator[tuple[str, int]]:
    """Delete what is too old, too much, or of a deleted model; yield (why, count)."""
    with context.database.read() as session:
        before = database_now(session) - timedelta(days=context.settings.keep_captured_days)
        of_models = select(_C.model_id, func.count()).group_by(_C.model_id)
        counts = session.execute(of_models).all()
    outdated = or_(_C.model_id.is_(None), _C.created_at < before)
    if count := _remove_all(context, outdated, dry_run):
        yield "older than DSPT_KEEP_CAPTURED_DAYS, or of a deleted model", count
    for model_id, number in counts:
        more = number - context.settings.max_captured_per_model
        if model_id is None or more <= 0:
            continue
        if count := more if dry_run else prune(context, model_id):
            yield model_id, count


def remove_of_deleted_models(context: Context, owner: str) -> None:
    """Delete what the deleted models of an owner have left."""
    _remove_all(context, (_C.owner == owner) & _C.model_id.is_(None), dry_run=False)


def remove(context: Context, ids: Sequence[str]) -> int:
    """Delete photos, then their rows; return the number of rows.

    In this order a crash leaves no photo behind: the row stays, and is deleted later.
    """
    for id_ in ids:
        context.storage.delete(storage_keys.capture(id_))
    with context.database.write() as session:
        gone = session.scalars(delete(_C).where(_C.id.in_(ids)).returning(_C.id)).all()
    return len(gone)


def _remove_all(context: Context, condition: ColumnElement[bool], dry_run: bool) -> int:
    if dry_run:
        with context.database.read() as session:
            return session.scalar(select(func.count()).where(condition)) or 0
    removed = 0
    while True:
        with context.database.read() as session:
            ids = session.scalars(select(_C.id).where(condition).limit(_BATCH)).all()
        if not ids:
            return removed
        removed += remove(context, ids)
