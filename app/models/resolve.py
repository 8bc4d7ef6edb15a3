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
_BACKBONES_BY_IDS = select(_MODEL.c.id, _MODEL.c.backbone).where(
    _MODEL.c.id.in_(bindparam("ids", expanding=True))
)
_BACKBONES_BY_ALIASES = (
    select(_ALIAS.c.name, _MODEL.c.backbone)
    .join_from(_ALIAS, _MODEL, _MODEL.c.id == _ALIAS.c.model_id)
    .where(_ALIAS.c.name.in_(bindparam("names", expanding=True)))
    .order_by(_ALIAS.c.owner)
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


def backbones_of(session: Session, asked: Sequence[str]) -> list[str | None]:
    """Return the backbone of each id or alias, whoever owns it; None where there is none.

    Of an alias that several owners have, one of them counts: it only decides where a request goes.
    """
    ids = sorted({name for name in asked if is_id(name)})
    aliases = sorted({name for name in asked if is_alias(name)})
    found: dict[str, str] = {}
    if aliases:
        rows = session.execute(_BACKBONES_BY_ALIASES, {"names": aliases})
        found |= {row.name: row.backbone for row in rows}
    if ids:
        found |= {row.id: row.backbone for row in session.execute(_BACKBONES_BY_IDS, {"ids": ids})}
    return [found.get(name) for name in asked]
