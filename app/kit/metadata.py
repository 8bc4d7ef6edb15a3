"""Metadata of the user's own on data sets, jobs and models: a small map of strings."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.kit.control_characters import is_clean
from app.kit.http.errors import ProblemItem, Unprocessable, message_of
from dspt.kit import strict_json
from dspt.kit.text_pattern import TextPattern

MAX_PAIRS, MAX_VALUE = 16, 500
#: The database finds a value by its key in a path, so that quotes cannot be part of it.
KEY = r"[A-Za-z0-9_.:/-]{1,64}"
KEY_RULE = "A key has 1 to 64 letters, digits and the characters _ . : / -."
VALUE_RULE = f"A value has up to {MAX_VALUE} characters, and no control characters."


def _clean(value: str) -> str:
    if not is_clean(value):
        raise ValueError("must not contain control characters")
    return value


Value = Annotated[
    str,
    Field(max_length=MAX_VALUE),
    TextPattern(r"^[^\x00-\x1f\x7f-\x9f]*$", VALUE_RULE),
    AfterValidator(_clean),
]
Metadata = Annotated[
    dict[Annotated[str, TextPattern(f"^{KEY}$", KEY_RULE)], Value],
    Field(
        max_length=MAX_PAIRS,
        description=f"At most {MAX_PAIRS} pairs of your own. Keys have up to 64 letters, digits "
        f"and `_ . : / -`, values up to {MAX_VALUE} characters.",
        json_schema_extra={"additionalProperties": False},
    ),
]


class MetadataUpdate(BaseModel):
    """New metadata, which replaces all earlier pairs."""

    model_config = ConfigDict(extra="forbid")

    metadata: Metadata


_ADAPTER: TypeAdapter[dict[str, str]] = TypeAdapter(Metadata)
FORM = 'Your own metadata as a JSON object, such as `{"camera": "left"}`.'


def parse(text: str | None) -> dict[str, str] | None:
    """Return the metadata in a form field; None without one. Raises Unprocessable."""
    if text is None or not text.strip():
        return None
    try:
        return _ADAPTER.validate_python(strict_json.loads(text), strict=True)
    except ValidationError as error:
        raise _wrong([_item(each) for each in error.errors(include_url=False)]) from error
    except ValueError as error:
        raise _wrong([("metadata", f"invalid JSON: {error}")]) from error


def _item(error: Any) -> tuple[str, str]:
    return ".".join(["metadata", *map(str, error["loc"])])[:100], message_of(error)


def _wrong(problems: list[tuple[str, str]]) -> Unprocessable:
    items = [
        ProblemItem(param=ascii(w)[1:-1], code="invalid_request", message=m) for w, m in problems
    ]
    return Unprocessable(f"{items[0].param}: {items[0].message}", errors=items)
