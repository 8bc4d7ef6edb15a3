"""The HTTP calls about aliases. PATCH /models/{id} points an alias to a model, too."""

from __future__ import annotations

from typing import Annotated, Literal

from dspt_client.schemas.models import AliasHistory, AliasView
from fastapi import Header, Path, Query, Response
from pydantic import Field

from app.access.dependencies import CallerDep, caller_router
from app.kit.http.context import ContextDep
from app.kit.http.errors import (
    BadRequest,
    Conflict,
    NotFound,
    PreconditionFailed,
    Unprocessable,
    problems,
)
from app.kit.http.etags import IfMatch, etag, version_in
from app.kit.http.paging import After, Limit, Page, page_of
from app.kit.http.rules import Scope, rules
from app.kit.http.schema_types import Omittable
from app.models import aliases
from app.models.schemas import AliasName, AliasTarget, alias_view, history_view
from app.models.service import find

router = caller_router("/aliases", tags=["models"])

Owner = Annotated[
    Annotated[str, Field(max_length=100)] | Omittable,
    Query(description="Owner of the alias (admin keys only). Default: the caller."),
]
Before = Annotated[
    Annotated[int, Field(ge=1, le=2**31 - 1)] | Omittable,
    Query(description="Number of the last move already read."),
]


@router.get("", responses=problems(Unprocessable))
@rules(Scope.READ)
def list_aliases(
    context: ContextDep, caller: CallerDep, after: After = None, limit: Limit = 20
) -> Page[AliasView]:
    """Aliases and the models they point to, newest first."""
    with context.database.read() as session:
        found = aliases.page(session, owner=caller.only_owner, after=after, limit=limit + 1)
    return page_of([alias_view(alias) for alias in found], limit)


@router.get("/{name}", responses=problems(NotFound, Unprocessable))
@rules(Scope.READ)
def get_alias(
    name: str,
    response: Response,
    context: ContextDep,
    caller: CallerDep,
    owner: Owner = None,
    before: Before = None,
    limit: Limit = 20,
) -> AliasHistory:
    """The model that an alias points to, and its history, newest first."""
    with context.database.read() as session:
        alias = aliases.find(session, caller, name, owner)
        moves = aliases.history(session, alias.owner, name, before=before, limit=limit + 1)
        response.headers["ETag"] = etag(aliases.version_of(session, alias))
    return history_view(alias, moves, limit)


@router.put(
    "/{name}",
    responses=problems(BadRequest, NotFound, PreconditionFailed, Unprocessable),
)
@rules(Scope.SUBMIT)
def put_alias(
    name: Annotated[AliasName, Path()],
    wanted: AliasTarget,
    response: Response,
    context: ContextDep,
    caller: CallerDep,
    if_match: IfMatch = None,
    if_none_match: Annotated[
        Literal["*"] | Omittable, Header(description="`*`: only if there is no such alias yet.")
    ] = None,
) -> AliasView:
    """Point an alias to a model, and set what it captures; a repeated request changes nothing.

    The alias belongs to the owner of the model. Once this call returns, requests for the alias use
    this model.
    """
    version = version_in(if_match)
    with context.database.write() as session:
        aliases.lock(session)
        model = find(session, caller, wanted.model)
        new = if_none_match is not None
        alias = aliases.put(
            session, caller, model, name, version=version, new=new, capture=wanted.capture
        )
        response.headers["ETag"] = etag(aliases.version_of(session, alias))
        return alias_view(alias)


@router.post(
    "/{name}/rollback", responses=problems(BadRequest, NotFound, Conflict, PreconditionFailed)
)
@rules(Scope.SUBMIT)
def roll_back_alias(
    name: str,
    response: Response,
    context: ContextDep,
    caller: CallerDep,
    owner: Owner = None,
    if_match: IfMatch = None,
) -> AliasView:
    """Point an alias to its previous model; repeat to go back further.

    With `If-Match` a repeated request goes back once.
    """
    version = version_in(if_match)
    with context.database.write() as session:
        aliases.lock(session)
        alias = aliases.find(session, caller, name, owner)
        aliases.roll_back(session, caller, alias, version)
        response.headers["ETag"] = etag(aliases.version_of(session, alias))
        return alias_view(alias)


@router.delete("/{name}", status_code=204, responses=problems(NotFound))
@rules(Scope.SUBMIT)
def delete_alias(name: str, context: ContextDep, caller: CallerDep, owner: Owner = None) -> None:
    """Delete an alias; the model stays."""
    with context.database.write() as session:
        aliases.lock(session)
        aliases.remove(session, caller, aliases.find(session, caller, name, owner))
