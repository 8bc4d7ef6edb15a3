"""A list of values that a newer service may extend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class OpenEnum:
    """Annotation of an enum field in a response: a client accepts unknown values too.

    A newer service may have more values than the client knows; they are read as plain strings. The
    OpenAPI document lists the values of this service only.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        known = handler(source)
        return core_schema.union_schema([known, core_schema.str_schema()], mode="left_to_right")

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        assert schema["type"] == "union"
        known = schema["choices"][0]
        assert not isinstance(known, tuple)
        return handler(known)
