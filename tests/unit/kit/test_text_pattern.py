"""Strings that must match a pattern."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from dspt.kit.text_pattern import TextPattern

DIGITS = TypeAdapter[str](
    Annotated[str, Field(max_length=3), TextPattern("^[0-9]+$", "digits: {}")]
)


def test_the_error_is_in_words_and_keeps_its_type() -> None:
    assert DIGITS.validate_python("12") == "12"
    for wrong in ("a", "", "1\n"):
        with pytest.raises(ValidationError) as refused:
            DIGITS.validate_python(wrong)
        [error] = refused.value.errors()
        assert (error["type"], error["msg"]) == ("string_pattern_mismatch", "digits: {}")


@pytest.mark.parametrize(("wrong", "kind"), [(1, "string_type"), ("1234", "string_too_long")])
def test_other_errors_stay_as_they_are(wrong: object, kind: str) -> None:
    with pytest.raises(ValidationError) as refused:
        DIGITS.validate_python(wrong)
    assert [error["type"] for error in refused.value.errors()] == [kind]


def test_the_schema_has_the_pattern() -> None:
    assert DIGITS.json_schema() == {"type": "string", "maxLength": 3, "pattern": "^[0-9]+$"}
