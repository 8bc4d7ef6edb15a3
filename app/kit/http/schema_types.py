"""Field types that appear in the OpenAPI document as intended."""

from __future__ import annotations

from pydantic.json_schema import SkipJsonSchema

#: `| Omittable`: an optional form field, header or query parameter. Null cannot be sent there.
Omittable = SkipJsonSchema[None]
