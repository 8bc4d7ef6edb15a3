"""A list of values that a newer service may extend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class OpenEnum:
    """Of an answer's field with a list of values: a client lets pass what is not on its list.

    A newer service may say more than the client knows. Such a value is read as a plain string; the
    OpenAPI document has the values of this service alone.
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
