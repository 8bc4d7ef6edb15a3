"""Parse a JSON body that FastAPI does not parse, because the call takes other bodies too."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from app.kit.http.errors import ProblemItem, Unprocessable, message_of
from dspt.kit.text import printable

M = TypeVar("M", bound=BaseModel)

_SHOWN = 100


def parse_json(schema: type[M], body: bytes) -> M:
    """Return the body as `schema`. Raises Unprocessable with the first problems."""
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        items = [
            ProblemItem(
                param=".".join(printable(str(part)) for part in item["loc"]) or "body",
                code=item["type"],
                message=message_of(item),
            )
            for item in error.errors(include_url=False, include_input=False)[:_SHOWN]
        ]
        detail = "; ".join(f"{item.param}: {item.message}" for item in items)
        raise Unprocessable(detail, errors=items) from error
