"""Strings that must match a pattern, with an error in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import (
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True)
class TextPattern:
    """Annotation of a string: it must match `pattern`.

    The JSON schema has the pattern, as with `Field(pattern=...)`. The error is `message` instead,
    because a regular expression is no help to the user.
    """

    pattern: str
    message: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        matching = core_schema.no_info_wrap_validator_function(
            self._match, core_schema.str_schema(pattern=self.pattern)
        )
        return core_schema.chain_schema([handler(source), matching])

    def _match(self, text: str, match: ValidatorFunctionWrapHandler) -> str:
        try:
            found: str = match(text)
        except ValidationError:
            error = ("string_pattern_mismatch", "{rule}", {"rule": self.message})
            raise PydanticCustomError(*error) from None
        return found

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"pattern": self.pattern}


SHA256 = TextPattern(r"^[0-9a-f]{64}$", "must be 64 hexadecimal digits in lower case")
