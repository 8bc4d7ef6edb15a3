"""Drift of a model: its captured predictions beside the photos that accuracy was measured on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dspt_client.schemas.metrics import DriftBaseline, DriftFigures
from dspt_client.schemas.models import Drift
from pydantic import ValidationError
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from app.tables.captures import CapturedPrediction
from dspt.model.drift import LOW_CONFIDENCE

_C = CapturedPrediction
#: Newest captured predictions that count: older ones would hide a change.
RECENT = 500
#: With fewer of them, a share of 5 % may be 0 to 17 % by chance.
FEWEST = 30

_UNKNOWN = (
    "The model has no class means: it was tuned by an earlier version, by `DSPTClassifier` or with "
    "more than 2,000 classes, or has classes that were added by name."
)
_NO_DISTANCES = "Too few captured predictions have a distance: {} of the {} that are needed."
_TOO_FEW = "Too few captured predictions: {} of the {} that are needed."


@dataclass(frozen=True)
class _Recent:
    """Counts and means of the newest captured predictions of a model."""

    count: int = 0
    since: datetime | None = None
    unsure: int = 0
    """Predictions of low confidence."""
    measured: int = 0
    """Photos with a distance."""
    distance: float | None = None
    far: int = 0


def of(session: Session, model_id: str, metrics: Mapping[str, Any]) -> Drift:
    """Return the drift of the model with these metrics."""
    return of_models(session, {model_id: metrics})[model_id]


def of_models(session: Session, metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Drift]:
    """Return the drift of models by their ids, with one query; metrics: by id, too."""
    if not metrics:
        return {}
    baselines = {model: _baseline(each) for model, each in metrics.items()}
    rank = func.row_number().over(partition_by=_C.model_id, order_by=_C.id.desc())
    captured = select(_C.model_id, _C.created_at, _C.score, _C.distance, rank.label("rank")).where(
        _C.model_id.in_(metrics)
    )
    recent = captured.subquery().c
    far_beyond = case(
        {model: _far_beyond(baseline) for model, baseline in baselines.items()},
        value=recent.model_id,
    )
    query = select(
        recent.model_id,
        func.count(),
        func.min(recent.created_at),
        func.count().filter(recent.score < LOW_CONFIDENCE),
        func.count(recent.distance),
        func.avg(recent.distance),
        func.count().filter(recent.distance > far_beyond),
    )
    query = query.where(recent.rank <= RECENT).group_by(recent.model_id)
    found = {model: _Recent(*figures) for model, *figures in session.execute(query)}
    return {
        model: _drift(found.get(model, _Recent()), baseline)
        for model, baseline in baselines.items()
    }


def of_new(metrics: Mapping[str, Any]) -> Drift:
    """Return the drift of a model with these metrics that has no captured predictions yet."""
    return _drift(_Recent(), _baseline(metrics))


def _drift(recent: _Recent, baseline: DriftBaseline | None) -> Drift:
    normal = baseline and DriftFigures.model_validate(baseline.model_dump(exclude={"far_beyond"}))
    count, now, reason = recent.count, None, None
    if count < FEWEST:
        reason = _TOO_FEW.format(count, FEWEST)
    else:
        has_means = baseline is not None and baseline.far_beyond is not None
        known = has_means and recent.measured >= FEWEST
        now = DriftFigures(
            images=count,
            low_confidence=recent.unsure / count,
            distance=recent.distance if known else None,
            far=recent.far / recent.measured if known else None,
        )
        if not has_means:
            reason = _UNKNOWN
        elif not known:
            reason = _NO_DISTANCES.format(recent.measured, FEWEST)
    return Drift(captured=count, since=recent.since, now=now, baseline=normal, reason=reason)


def _far_beyond(baseline: DriftBaseline | None) -> float:
    if baseline is None or baseline.far_beyond is None:
        return math.inf
    return baseline.far_beyond


def _baseline(metrics: Mapping[str, Any]) -> DriftBaseline | None:
    """Return what is normal; None if the metrics lack it, or if those of an import are invalid."""
    try:
        return DriftBaseline.model_validate(metrics.get("drift_baseline"))
    except ValidationError:
        return None
