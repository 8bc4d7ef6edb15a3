"""Names that move from model to model: who moves one, all it did, and the way back.

Aliases are changed one at a time: each change begins with `take_turn`, in the same transaction and
before anything is read. So the newest move of an alias is where it stands, and none is lost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.kit.control_characters import is_clean
from app.kit.db import database_now, take_turns
from app.kit.http.errors import Conflict, NotFound, ProblemItem
from app.kit.ids import is_id, new_id
from app.models import repository
from app.models.schemas import ALIAS_PATTERN
from app.tables.models import AliasMove, Model, ModelAlias

#: Any fixed number will do, as long as nobody else in the database locks on it.
_LOCK = 0x64737076
_FORM = re.compile(ALIAS_PATTERN)


def is_alias(text: str) -> bool:
    """Whether `text` could be an alias; anything else names none."""
    return _FORM.fullmatch(text) is not None and not is_id(text)


def take_turn(session: Session) -> None:
    """Let nobody else change aliases or delete models until the transaction ends."""
    take_turns(session, _LOCK)


def find(session: Session, caller: Caller, name: str, owner: str | None) -> ModelAlias:
    """The alias of `owner` (None: the caller), or NotFound: nobody else's exists for him."""
    owner = owner or caller.owner
    alias = None
    if is_alias(name) and is_clean(owner) and caller.sees(owner):
        alias = _get(session, owner, name)
    if alias is None:
        raise NotFound(
            f"There is no alias {name!r}. GET /aliases lists what there is.", code="alias_not_found"
        )
    return alias


def page(
    session: Session, *, owner: str | None, after: str | None, limit: int
) -> Sequence[ModelAlias]:
    """Newest first, from behind the alias `after`; of one owner, or of all (None)."""
    query = select(ModelAlias).order_by(ModelAlias.id.desc()).limit(limit)
    if owner is not None:
        query = query.where(ModelAlias.owner == owner)
    if after is not None:
        query = query.where(ModelAlias.id < after)
    return session.scalars(query).all()


def history(
    session: Session, owner: str, name: str, *, before: int | None = None, limit: int
) -> Sequence[AliasMove]:
    """Moves of an alias, the newest first, from behind number `before`."""
    query = select(AliasMove).where(AliasMove.owner == owner, AliasMove.alias == name)
    if before is not None:
        query = query.where(AliasMove.number < before)
    return session.scalars(query.order_by(AliasMove.number.desc()).limit(limit)).all()


def move(session: Session, caller: Caller, model: Model, name: str) -> None:
    """Let `name`, an alias of the model's owner, point to it; no move if it does already."""
    head = _head(session, model.owner, name)
    before = None if head is None or head.model_id is None else head
    if before is None or before.model_id != model.id:
        rollback_to = None if before is None else before.number
        _step(session, caller, model.owner, name, head, model.id, rollback_to)


def roll_back(session: Session, caller: Caller, alias: ModelAlias) -> None:
    """Let an alias point to the model before, and at the next call to the one before that.

    Raises Conflict where there is none, or where it was deleted.
    """
    head = _head(session, alias.owner, alias.name)
    assert head is not None  # it was moved to where it is
    if head.rollback_to is None:
        raise Conflict(
            f"The alias {alias.name!r} has not pointed to another model before this one. "
            f"{_MOVE.format(alias.name)}",
            code="no_model_before",
        )
    target = session.get_one(AliasMove, (alias.owner, alias.name, head.rollback_to))
    assert target.model_id is not None  # nothing goes back beyond a removal
    if repository.get(session, target.model_id) is None:
        raise Conflict(
            f"The alias {alias.name!r} pointed to {target.model_id} before, which was deleted. "
            f"{_MOVE.format(alias.name)}",
            code="model_deleted",
        )
    _step(session, caller, alias.owner, alias.name, head, target.model_id, target.rollback_to)


def remove(session: Session, caller: Caller, alias: ModelAlias) -> None:
    """Delete an alias; its history stays, and goes on if it is ever made again."""
    head = _head(session, alias.owner, alias.name)
    _step(session, caller, alias.owner, alias.name, head, None, None)


def check_unused(session: Session, model: Model) -> None:
    """Raise Conflict if an alias points to the model."""
    names = repository.aliases_of(session, [model.id])[model.id]
    if names:
        message = f"{model.id} is in use: {', '.join(map(repr, names))} points to it."
        raise Conflict(
            f"{message} Move each alias to another model (PATCH /models/ID with "
            '{"alias": NAME}) or remove it (DELETE /aliases/NAME), then delete the model.',
            code="model_in_use",
            errors=[
                ProblemItem(param=name, code="model_in_use", message=message) for name in names
            ],
        )


_MOVE = 'Move it to the model that you want: PATCH /models/ID with {{"alias": "{}"}}.'


def _get(session: Session, owner: str, name: str) -> ModelAlias | None:
    return session.scalar(
        select(ModelAlias).where(ModelAlias.owner == owner, ModelAlias.name == name)
    )


def _head(session: Session, owner: str, name: str) -> AliasMove | None:
    """The newest move."""
    newest = history(session, owner, name, limit=1)
    return newest[0] if newest else None


def _step(
    session: Session,
    caller: Caller,
    owner: str,
    name: str,
    head: AliasMove | None,
    model_id: str | None,
    rollback_to: int | None,
) -> None:
    now = database_now(session)
    session.add(
        AliasMove(
            owner=owner,
            alias=name,
            number=1 if head is None else head.number + 1,
            model_id=model_id,
            previous_model_id=None if head is None else head.model_id,
            rollback_to=rollback_to,
            moved_at=now,
            key_id=caller.key_id,
        )
    )
    alias = _get(session, owner, name)
    if model_id is None:
        session.delete(alias)
    elif alias is None:
        alias = ModelAlias(
            id=new_id("als"), owner=owner, name=name, model_id=model_id, moved_at=now
        )
        session.add(alias)
    else:
        alias.model_id, alias.moved_at = model_id, now
    session.flush()
