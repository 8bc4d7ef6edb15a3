"""Find models by id or alias. Runs with each prediction, so it selects columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select, tuple_
from sqlalchemy.orm import Session

from app.kit.ids import is_id
from app.models.aliases import is_alias
from app.tables.models import Model, ModelAlias

_MODEL, _ALIAS = Model.__table__, ModelAlias.__table__
_BY_IDS = select(_MODEL.c.id, _MODEL.c.owner, _MODEL.c.sha256).where(
    _MODEL.c.id.in_(bindparam("ids", expanding=True))
)
_BY_ALIASES = (
    select(_ALIAS.c.owner, _ALIAS.c.name, _ALIAS.c.capture, _MODEL.c.id, _MODEL.c.sha256)
    .join_from(_ALIAS, _MODEL, _MODEL.c.id == _ALIAS.c.model_id)
    .where(tuple_(_ALIAS.c.owner, _ALIAS.c.name).in_(bindparam("names", expanding=True)))
)


@dataclass(frozen=True)
class ResolvedModel:
    """A model found by id or alias."""

    id: str
    owner: str
    sha256: str
    """SHA-256 of its artefact."""
    alias: str | None
    """The alias it was found by; None if by id."""
    capture: float = 0.0
    """Share of the predictions through the alias that are captured."""


def resolve(session: Session, asked: Sequence[tuple[str, str]]) -> list[ResolvedModel | None]:
    """Return the model of each (owner, id or alias of that owner); None where there is none.

    A model is found by id for every owner, so the caller must check access.
    """
    ids = sorted({name for _, name in asked if is_id(name)})
    aliases = sorted({(owner, name) for owner, name in asked if is_alias(name)})
    by_id = {
        row.id: ResolvedModel(row.id, row.owner, row.sha256, None)
        for row in (session.execute(_BY_IDS, {"ids": ids}) if ids else ())
    }
    by_alias = {
        (row.owner, row.name): ResolvedModel(row.id, row.owner, row.sha256, row.name, row.capture)
        for row in (session.execute(_BY_ALIASES, {"names": aliases}) if aliases else ())
    }
    return [by_id.get(name) or by_alias.get((owner, name)) for owner, name in asked]
