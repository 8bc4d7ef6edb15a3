"""Read captured predictions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session, undefer

from app.kit.http.errors import Unprocessable
from app.kit.ids import is_id
from app.kit.newest_first import newest_first
from app.tables.captures import CapturedPrediction

_C = CapturedPrediction
#: Most captured predictions from which the most instructive are chosen.
CANDIDATES = 2000
#: Most photos with feedback that are taken into account.
KNOWN = 500


def get(session: Session, prediction_id: str, *, lock: bool = False) -> CapturedPrediction | None:
    """Return the captured prediction; None if there is none, or if its model was deleted."""
    if not is_id(prediction_id):
        return None
    found = session.get(_C, prediction_id, with_for_update=lock)
    return None if found is None or found.model_id is None else found


def page(
    session: Session, model_id: str, *, labelled: bool | None, after: str | None, limit: int
) -> Sequence[CapturedPrediction]:
    """Return captured predictions of a model, newest first, older than the id `after`."""
    query = newest_first(_of(model_id, labelled), _C, owner=None, after=after, limit=limit)
    return session.scalars(query).all()


def most_uncertain(
    session: Session, model_id: str, *, labelled: bool | None, after: str | None, limit: int
) -> Sequence[CapturedPrediction]:
    """Return captured predictions by growing margin, after the one with the id `after`.

    Raises Unprocessable if that one was deleted.
    """
    query = _of(model_id, labelled).order_by(_C.margin, _C.id).limit(limit)
    if after is not None:
        last = get(session, after)
        if last is None:
            raise Unprocessable(
                "`after` was deleted in the meantime. Start with the first page.",
                code="unknown_cursor",
            )
        query = query.where(tuple_(_C.margin, _C.id) > (last.margin, last.id))
    return session.scalars(query).all()


def candidates(session: Session, model_id: str) -> Sequence[CapturedPrediction]:
    """Return the least certain ones without feedback, with their features."""
    query = _of(model_id, labelled=False).order_by(_C.margin, _C.id).limit(CANDIDATES)
    return session.scalars(query.options(undefer(_C.features))).all()


def with_feedback(session: Session, model_id: str) -> Sequence[CapturedPrediction]:
    """Return all captured predictions with feedback, the oldest first."""
    return session.scalars(_of(model_id, labelled=True).order_by(_C.id)).all()


def features_with_feedback(session: Session, model_id: str) -> Sequence[str]:
    """Return the features of the newest ones with feedback."""
    query = select(_C.features).where(_C.model_id == model_id, _C.label.is_not(None))
    return session.scalars(query.order_by(_C.labelled_at.desc()).limit(KNOWN)).all()


def _of(model_id: str, labelled: bool | None) -> Select[CapturedPrediction]:
    query = select(_C).where(_C.model_id == model_id)
    if labelled is not None:
        query = query.where(_C.label.is_not(None) if labelled else _C.label.is_(None))
    return query
