"""The HTTP calls about API keys, for admins."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.access import keys
from app.access.dependencies import caller_router
from app.kit.control_characters import is_clean
from app.kit.http.context import ContextDep
from app.kit.http.errors import BadRequest, NotFound, Unprocessable, problems
from app.kit.http.paging import After, Limit, Page, page_of
from app.kit.http.rules import Scope, rules
from app.kit.ids import is_id
from app.tables.access import ApiKey

router = caller_router("/keys", tags=["keys"])


def _checked(name: str) -> str:
    if not is_clean(name) or not name.strip():
        raise ValueError("must not be empty or contain control characters")
    return name.strip()


_Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_checked)]


class NewKey(BaseModel):
    """The key to create."""

    model_config = ConfigDict(extra="forbid")

    name: _Name = Field(description="Name of the person or program that will use it.")
    owner: _Name | None = Field(
        default=None,
        description="Owner of what the key creates and sees; keys may share an owner. Default: the "
        "name. The owner `local` has what was created without keys.",
    )
    scopes: list[Scope] = Field(
        default=[Scope.READ, Scope.SUBMIT],
        min_length=1,
        max_length=10,
        description="read: read and classify; submit: create, change, delete; metrics: "
        "GET /metrics; admin: everything, for all owners.",
    )
    expires_in_days: int | None = Field(default=None, ge=1, le=36500, description="Default: never.")


class KeyView(BaseModel):
    """An API key without its secret."""

    id: str
    object: Literal["key"] = "key"
    name: str
    owner: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None = Field(description="Null: never.")
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None


class CreatedKey(KeyView):
    """A new API key."""

    key: str = Field(description="The key itself. Only its digest is stored: keep it now.")


@router.get("", responses=problems(Unprocessable))
@rules(Scope.ADMIN)
def list_keys(context: ContextDep, after: After = None, limit: Limit = 20) -> Page[KeyView]:
    """API keys, newest first; also those that were revoked or have expired."""
    with context.database.read() as session:
        found = [_view(key) for key in keys.page(session, after, limit + 1)]
    return page_of(found, limit)


@router.post("", status_code=201, responses=problems(BadRequest, Unprocessable))
@rules(Scope.ADMIN)
def create_key(wanted: NewKey, context: ContextDep) -> CreatedKey:
    """Create an API key. Once a key exists, every request needs one."""
    days = wanted.expires_in_days
    with context.database.write() as session:
        key, token = keys.create(
            session,
            wanted.name,
            wanted.owner or wanted.name,
            wanted.scopes,
            None if days is None else timedelta(days=days),
        )
        return CreatedKey(**_view(key).model_dump(), key=token)


@router.delete("/{key_id}", status_code=204, responses=problems(NotFound))
@rules(Scope.ADMIN)
def revoke_key(key_id: str, context: ContextDep) -> None:
    """Revoke an API key at once. What was created with it stays."""
    with context.database.write() as session:
        if not is_id(key_id) or session.get(ApiKey, key_id) is None:
            raise NotFound(f"There is no key {key_id!r}.", code="key_not_found")
        keys.revoke(session, key_id)


def _view(key: ApiKey) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        owner=key.owner,
        scopes=[Scope(scope) for scope in key.scopes],
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
    )
