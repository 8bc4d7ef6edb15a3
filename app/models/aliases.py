"""Aliases: names that move between models, with a history and rollback.

Each change starts with `lock`, in the same transaction and before any read. So the newest move of
an alias is its current state, and no move is lost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.kit.control_characters import is_clean
from app.kit.db import database_now, lock_until_commit
from app.kit.http.errors import Conflict, NotFound, PreconditionFailed, ProblemItem
from app.kit.ids import is_id, new_id
from app.kit.newest_first import newest_first
from app.models import repository
from app.models.schemas import ALIAS_PATTERN
from app.tables.models import AliasMove, Model, ModelAlias

#: Advisory lock number; arbitrary, but unique within the database.
_LOCK = 0x64737076
_FORM = re.compile(ALIAS_PATTERN)
_MOVE = "Point it to another model."


def is_alias(text: str) -> bool:
    """Return whether `text` has the form of an alias."""
    return _FORM.fullmatch(text) is not None and not is_id(text)


def lock(session: Session) -> None:
    """Block other changes of aliases and deletions of models until the transaction ends."""
    lock_until_commit(session, _LOCK)


def find(session: Session, caller: Caller, name: str, owner: str | None) -> ModelAlias:
    """Return the alias of `owner` (None: the caller). Raises NotFound, also without access."""
    owner = owner or caller.owner
    alias = None
    if is_alias(name) and is_clean(owner) and caller.sees(owner):
        alias = _get(session, owner, name)
    if alias is None:
        raise NotFound(
            f"There is no alias {name!r}. The list of aliases shows yours.", code="alias_not_found"
        )
    return alias


def page(
    session: Session, *, owner: str | None, after: str | None, limit: int
) -> Sequence[ModelAlias]:
    """Return aliases of one owner, or of all (None), newest first, older than `after`."""
    query = newest_first(select(ModelAlias), ModelAlias, owner=owner, after=after, limit=limit)
    return session.scalars(query).all()


def history(
    session: Session, owner: str, name: str, *, before: int | None = None, limit: int
) -> Sequence[AliasMove]:
    """Return the moves of an alias before number `before`, newest first."""
    query = select(AliasMove).where(AliasMove.owner == owner, AliasMove.alias == name)
    if before is not None:
        query = query.where(AliasMove.number < before)
    return session.scalars(query.order_by(AliasMove.number.desc()).limit(limit)).all()


def move(session: Session, caller: Caller, model: Model, name: str) -> None:
    """Point the alias `name` of the model's owner to it; no move if it already does."""
    head = _head(session, model.owner, name)
    before = None if head is None or head.model_id is None else head
    if before is None or before.model_id != model.id:
        rollback_to = None if before is None else before.number
        _step(session, caller, model.owner, name, head, model.id, rollback_to)


def put(
    session: Session,
    caller: Caller,
    model: Model,
    name: str,
    *,
    version: int | None,
    new: bool,
    capture: float | None = None,
) -> ModelAlias:
    """Do what `move` does if the alias has this version (None: any), or if `new`, none yet.

    If it points to the model already, it is not moved, whatever its version: the request may be a
    repeated one. capture: share of predictions to capture from now on. Default: as before, 0 for a
    new alias. Raises PreconditionFailed.
    """
    alias = _get(session, model.owner, name)
    if alias is None or alias.model_id != model.id:
        if (new and alias is not None) or (version is not None and alias is None):
            raise _moved(name)
        if alias is not None and version not in (None, version_of(session, alias)):
            raise _moved(name)
        move(session, caller, model, name)
    found = _get(session, model.owner, name)
    assert found is not None
    if capture is not None:
        found.capture = capture
    return found


def version_of(session: Session, alias: ModelAlias) -> int:
    """Return the number of the newest move."""
    head = _head(session, alias.owner, alias.name)
    assert head is not None  # an alias has at least one move
    return head.number


def roll_back(
    session: Session, caller: Caller, alias: ModelAlias, version: int | None = None
) -> None:
    """Point an alias to its previous model; the next call goes back one further.

    With `version`, the alias must have it; a repeated call changes nothing. Raises Conflict if
    there is no previous model, or if it was deleted, and PreconditionFailed.
    """
    head = _head(session, alias.owner, alias.name)
    assert head is not None  # an alias has at least one move
    if version not in (None, head.number):
        if _is_rollback_from(session, head, version):
            return
        raise _moved(alias.name)
    if head.rollback_to is None:
        raise Conflict(
            f"The alias {alias.name!r} has no previous model. {_MOVE}",
            code="no_model_before",
        )
    target = session.get_one(AliasMove, (alias.owner, alias.name, head.rollback_to))
    assert target.model_id is not None  # a rollback never goes back beyond a deletion
    if repository.get(session, target.model_id) is None:
        raise Conflict(
            f"The previous model of the alias {alias.name!r}, {target.model_id}, was deleted. "
            f"{_MOVE}",
            code="model_deleted",
        )
    _step(session, caller, alias.owner, alias.name, head, target.model_id, target.rollback_to)


def remove(session: Session, caller: Caller, alias: ModelAlias) -> None:
    """Delete an alias; its history stays and continues if the alias is created again."""
    head = _head(session, alias.owner, alias.name)
    _step(session, caller, alias.owner, alias.name, head, None, None)


def _is_rollback_from(session: Session, head: AliasMove, version: int | None) -> bool:
    """Return whether the newest move is the rollback of move number `version`."""
    if head.number - 1 != version:
        return False
    before = session.get_one(AliasMove, (head.owner, head.alias, version))
    if before.rollback_to is None:
        return False
    target = session.get_one(AliasMove, (head.owner, head.alias, before.rollback_to))
    return (head.model_id, head.rollback_to) == (target.model_id, target.rollback_to)


def _moved(name: str) -> PreconditionFailed:
    return PreconditionFailed(
        f"The alias {name!r} has been moved, created or removed since. GET /aliases/{name} has its "
        "current model and ETag."
    )


def check_unused(session: Session, model: Model) -> None:
    """Raise Conflict if an alias points to the model."""
    names = repository.aliases_of(session, [model.id])[model.id]
    if names:
        message = f"{model.id} is in use by the alias {', '.join(map(repr, names))}."
        raise Conflict(
            f"{message} Point each alias to another model or remove it, then delete the model.",
            code="model_in_use",
            errors=[
                ProblemItem(param=name, code="model_in_use", message=message) for name in names
            ],
        )


def _get(session: Session, owner: str, name: str) -> ModelAlias | None:
    return session.scalar(
        select(ModelAlias).where(ModelAlias.owner == owner, ModelAlias.name == name)
    )


def _head(session: Session, owner: str, name: str) -> AliasMove | None:
    """Return the newest move."""
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
            id=new_id("als"), owner=owner, name=name, model_id=model_id, moved_at=now, capture=0
        )
        session.add(alias)
    else:
        alias.model_id, alias.moved_at = model_id, now
    session.flush()
