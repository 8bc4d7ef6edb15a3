"""Iterate over lists that the service returns page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TypeVar

from pydantic import BaseModel

from dspt_client._calls import Page, as_a, get
from dspt_client._connection import Connection

M = TypeVar("M", bound=BaseModel)
Filters = Mapping[str, str | int | None]


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
