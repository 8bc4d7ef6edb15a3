"""Read and delete tuned classifiers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, delete, select
from sqlalchemy.orm import Session

from app.kit.control_characters import cleaned
from app.kit.http.filters import Filters
from app.kit.ids import is_id
from app.kit.json_columns import LARGE_METRICS, without
from app.kit.newest_first import newest_first
from app.tables.models import Model, ModelAlias


def get(session: Session, model_id: str) -> Model | None:
    return session.get(Model, model_id) if is_id(model_id) else None


def page(
    session: Session,
    filters: Filters,
    *,
    backbone: str | None,
    owner: str | None,
    after: str | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Return models of one owner, or of all (None), newest first, older than `after`.

    Their metrics lack what grows with the number of classes.
    """
    dialect = session.get_bind().dialect.name
    table = Model.__table__.c
    changed = {
        "metrics": without(table.metrics, dialect, LARGE_METRICS).label("metrics"),
        "metadata": table.metadata.label("user_metadata"),
    }
    columns = [changed.get(key, column) for key, column in table.items()]
    query = newest_first(select(*columns), Model, owner=owner, after=after, limit=limit)
    query = filters.apply(query, table, table.name)
    if backbone is not None:
        query = query.where(table.backbone == cleaned(backbone))
    return session.execute(query).all()


def remove(session: Session, model_id: str) -> bool:
    found = session.execute(delete(Model).where(Model.id == model_id).returning(Model.id))
    return found.one_or_none() is not None


def aliases_of(session: Session, model_ids: Iterable[str]) -> Mapping[str, list[str]]:
    """Return model id -> the aliases that point to it, sorted."""
    query = (
        select(ModelAlias.model_id, ModelAlias.name)
        .where(ModelAlias.model_id.in_(list(model_ids)))
        .order_by(ModelAlias.name)
    )
    found: dict[str, list[str]] = defaultdict(list)
    for model_id, name in session.execute(query):
        found[model_id].append(name)
    return found
