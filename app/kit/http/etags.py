"""ETags of resources whose versions are numbers: `"7"`."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header

from app.kit.http.errors import BadRequest
from app.kit.http.schema_types import Omittable

#: Header of a call that changes a resource.
IfMatch = Annotated[
    str | Omittable,
    Header(
        description="ETag of the version to change. Default: any version.",
        json_schema_extra={"pattern": r'^(\*|"\d{1,15}")$'},
    ),
]

_NUMBER = re.compile(r'"(\d{1,15})"')


def etag(version: int) -> str:
    return f'"{version}"'


def version_in(if_match: str | None) -> int | None:
    """Return the version that `If-Match` asks for; None if any will do. Raises BadRequest."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _NUMBER.fullmatch(if_match.strip())
    if found is None:
        raise BadRequest(
            'If-Match must be the ETag of an earlier response, such as "7".', code="bad_etag"
        )
    return int(found[1])
