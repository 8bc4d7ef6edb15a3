"""Iterate over lists that the service returns page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import BaseModel

from dspt_client._calls import Page, as_a, get
from dspt_client._connection import Connection

M = TypeVar("M", bound=BaseModel)
Filters = Mapping[str, str | int | list[str] | None]


def matching(
    name: str | None,
    metadata: Mapping[str, str] | None,
    created_after: datetime | None,
    created_before: datetime | None,
) -> dict[str, str | int | list[str] | None]:
    """Return the filters that lists of data sets, jobs and models share."""
    return {
        "name": name,
        "metadata": [f"{key}={value}" for key, value in (metadata or {}).items()] or None,
        "created_after": created_after.astimezone(UTC).isoformat() if created_after else None,
        "created_before": created_before.astimezone(UTC).isoformat() if created_before else None,
    }


async def items(
    connection: Connection, where: str, schema: type[M], filters: Filters, at_once: int = 50
) -> AsyncIterator[M]:
    """Yield all items of a list; the next page is fetched when it is needed.

    filters: parameters of the request; those that are None are not sent.
    """
    read = as_a(Page[schema])  # type: ignore[valid-type]
    params = {key: value for key, value in filters.items() if value is not None}
    params["limit"] = at_once
    while True:
        page = await connection.call(get(where, read, params=params))
        for item in page.data:
            yield item
        if page.next is None:
            return
        params["after"] = page.next
