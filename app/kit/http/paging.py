"""Lists that are read page by page, newest first."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, Protocol, TypeVar

from fastapi import Query
from pydantic import AfterValidator, BaseModel, Field

from app.kit.http.schema_types import Omittable
from dspt.kit.text_pattern import TextPattern

Item = TypeVar("Item")

NOT_A_CURSOR = "must be `next` of the previous page"
After = Annotated[
    # Empty: `next` of the last page, passed on by a client.
    Annotated[str, TextPattern(r"^([a-z]{1,8}_[0-9a-z]{26})?$", NOT_A_CURSOR)] | Omittable,
    AfterValidator(lambda value: value or None),
    Query(description="Id of the last item of the previous page."),
]
Limit = Annotated[int, Query(ge=1, le=100, description="Items per page.")]


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool = Field(description="Whether there is a next page.")
    next: str | None = Field(description="`after` of the next page.")


class _WithId(Protocol):
    id: str


ItemWithId = TypeVar("ItemWithId", bound=_WithId)


def page_of(items: list[ItemWithId], limit: int) -> Page[ItemWithId]:
    """Return a page of up to `limit` items, given up to `limit + 1` of them."""
    data, has_more = items[:limit], len(items) > limit
    return Page(data=data, has_more=has_more, next=data[-1].id if has_more else None)
