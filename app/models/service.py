"""Access to models on behalf of a caller."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.kit.http.errors import NotFound
from app.models import repository
from app.models.resolve import resolve
from app.tables.models import Model


def find(session: Session, caller: Caller, model_id: str) -> Model:
    """Return the model. Raises NotFound, also if it belongs to another owner."""
    model = repository.get(session, model_id)
    if model is None or not caller.sees(model.owner):
        raise NotFound(f"There is no model {model_id!r}.", code="model_not_found")
    return model


def find_by_name(session: Session, caller: Caller, name: str) -> Model:
    """Return the model with this id or alias. Raises NotFound, as `find` does."""
    (found,) = resolve(session, [(caller.owner, name)])
    model = repository.get(session, found.id) if found and caller.sees(found.owner) else None
    if model is None:
        raise name_not_found(name)
    return model


def name_not_found(name: str) -> NotFound:
    """Return the error for an id or alias that the caller has no model for."""
    return NotFound(
        f"There is no model {name!r}. The list of models shows yours and their aliases.",
        code="model_not_found",
    )
