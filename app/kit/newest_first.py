"""Select one page of a table whose ids sort by time."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import Select

Q = TypeVar("Q", bound=Select[Any])


def newest_first(query: Q, table: Any, *, owner: str | None, after: str | None, limit: int) -> Q:
    """Return up to `limit` rows of one owner, or of all (None), older than the id `after`.

    table: has the columns `id` and `owner`.
    """
    query = query.order_by(table.id.desc()).limit(limit)
    if owner is not None:
        query = query.where(table.owner == owner)
    if after is not None:
        query = query.where(table.id < after)
    return query
