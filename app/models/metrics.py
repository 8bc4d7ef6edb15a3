"""Metrics of the drift of models, read from the database at each scrape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dspt_client.schemas.models import Drift
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.metrics.from_database import DatabaseCollector
from app.models import drift
from app.tables.captures import CapturedPrediction
from app.tables.models import Model

#: Series are limited to the models with the newest captured predictions.
_MODELS = 100
_FIGURES = {
    "low_confidence": "Share of recent captured predictions with a probability below 0.5.",
    "distance": "Mean distance of recent captured photos from the training photos.",
    "far": "Share of recent captured photos further away than 95 % of the measured photos.",
}


class DriftCollector(DatabaseCollector[Mapping[str, Drift]]):
    """One per process; close it at the end. Yields nothing while the database is unavailable."""

    name = "drift"

    def read(self, session: Session) -> Mapping[str, Drift]:
        id_ = CapturedPrediction.model_id
        newest = func.max(CapturedPrediction.id)
        busiest = (
            select(id_)
            .where(id_.is_not(None))
            .group_by(id_)
            .having(func.count() >= drift.FEWEST)
            .order_by(newest.desc())
            .limit(_MODELS)
        )
        baseline = Model.metrics["drift_baseline"]
        rows = session.execute(select(Model.id, baseline).where(Model.id.in_(busiest)))
        metrics = {model: {"drift_baseline": found} for model, found in rows}
        return drift.of_models(session, metrics)

    def families(self, found: Mapping[str, Drift]) -> Iterator[Metric]:
        captured = GaugeMetricFamily(
            "dspt_drift_captured", "Captured predictions that the drift rests on.", labels=["model"]
        )
        for model, each in found.items():
            captured.add_metric([model], each.captured)
        yield captured
        for name, text in _FIGURES.items():
            family = GaugeMetricFamily(
                f"dspt_drift_{name}",
                f"{text} `baseline`: of the photos that accuracy was measured on.",
                labels=["model", "photos"],
            )
            for model, each in found.items():
                for photos, figures in (("captured", each.now), ("baseline", each.baseline)):
                    value = getattr(figures, name, None)
                    if value is not None:
                        family.add_metric([model, photos], value)
            yield family
