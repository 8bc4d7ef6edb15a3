"""What a request may carry and an answer may say, as the OpenAPI document should have it."""

from __future__ import annotations

from pydantic.json_schema import SkipJsonSchema

#: Of a form field, a header or a part of a query that may be left out: null cannot be sent there.
Omittable = SkipJsonSchema[None]
