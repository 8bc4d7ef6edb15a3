"""Filters of lists. The cursor is an id in a fixed order, so that it is right with any filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query
from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from sqlalchemy import ColumnElement, Select

from app.kit.control_characters import cleaned
from app.kit.http.schema_types import Omittable
from app.kit.metadata import KEY, KEY_RULE, MAX_PAIRS, MAX_VALUE, VALUE_RULE
from dspt.kit.text_pattern import TextPattern

Q = TypeVar("Q", bound=Select[Any])


@dataclass(frozen=True)
class Filters:
    """What the items of a list must have in common; None: anything."""

    name: str | None = None
    owner: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    metadata: Mapping[str, str] | None = None

    def apply(self, query: Q, columns: Any, name: ColumnElement[str]) -> Q:
        """Return the query with these conditions.

        columns: of a table with `owner`, `created_at` and `metadata`; name: the column to search.
        """
        if self.name:
            query = query.where(name.icontains(self.name, autoescape=True))
        if self.owner is not None:
            query = query.where(columns.owner == self.owner)
        if self.created_after is not None:
            query = query.where(columns.created_at > self.created_after)
        if self.created_before is not None:
            query = query.where(columns.created_at < self.created_before)
        for key, value in (self.metadata or {}).items():
            query = query.where(columns.metadata[key].as_string() == value)
        return query


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # before the year 1 or after the year 9999 in UTC
        return (datetime.min if moment.year == 1 else datetime.max).replace(tzinfo=UTC)


def _no_number(text: object) -> object:
    if isinstance(text, str) and ":" not in text:
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z")
    return text


_Moment = Annotated[
    AwareDatetime | Omittable, BeforeValidator(_no_number), AfterValidator(_utc), Query()
]
_Pair = Annotated[
    str,
    TextPattern(
        rf"^{KEY}=[^\x00-\x1f\x7f-\x9f]{{0,{MAX_VALUE}}}$",
        f"must be key=value. {KEY_RULE} {VALUE_RULE}",
    ),
]


def _filters(
    name: Annotated[
        str | Omittable,
        Query(max_length=200, description="Part of the name, in upper or lower case."),
    ] = None,
    owner: Annotated[
        str | Omittable,
        Query(max_length=100, description="Of this owner; admins see all owners."),
    ] = None,
    created_after: _Moment = None,
    created_before: _Moment = None,
    metadata: Annotated[
        list[_Pair] | Omittable,
        Query(
            max_length=MAX_PAIRS,
            description="`key=value` of the metadata; may be repeated, and all must match.",
        ),
    ] = None,
) -> Filters:
    pairs = dict(each.split("=", 1) for each in metadata or [])
    # No name has control characters, and databases refuse some of them.
    name, owner = (each and cleaned(each) for each in (name, owner))
    return Filters(name, owner, created_after, created_before, pairs)


FiltersDep = Annotated[Filters, Depends(_filters)]
Backbone = Annotated[str | Omittable, Query(max_length=200, description="Name of the backbone.")]
