"""Describe requests and parse responses. This module sends nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from dspt_client._exceptions import Item, Refused, UnexpectedAnswer, refused

#: Form of the id of a data set, to tell it from a path.
DATASET_ID = re.compile(r"ds_[0-9a-z]{26}")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
#: Codes of a service that does not have this path or method.
NO_SUCH_CALL = frozenset({"not_found", "method_not_allowed"})


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and the function that parses its response."""

    method: str
    path: str
    read: Callable[[bytes], T]
    #: Whether it may be sent twice: it changes nothing, or a second one has no further effect.
    repeatable: bool
    #: Arguments of httpx.Client.build_request: params, json, files, ...
    options: Mapping[str, Any] = field(default_factory=dict)


class Page(BaseModel, Generic[T]):
    """One page of a list, with the cursor of the next one."""

    data: list[T]
    next: str | int | None = None


def path(*parts: str) -> str:
    """Return `/jobs/ID`, with the parts quoted."""
    return "".join("/" + quote(part, safe="") for part in parts)


def get(where: str, read: Callable[[bytes], T], **options: Any) -> Call[T]:
    return Call("GET", where, read, True, options)


def delete(where: str, **options: Any) -> Call[None]:
    return Call("DELETE", where, nothing, True, options)


def nothing(_: bytes) -> None:
    """Parse a response without content."""


def as_a(schema: type[M]) -> Callable[[bytes], M]:
    """Return a function that parses a body as `schema` and ignores unknown fields."""

    def read(body: bytes) -> M:
        try:
            return schema.model_validate_json(body)
        except ValidationError as error:
            where = ", ".join(".".join(map(str, e["loc"])) or "body" for e in error.errors()[:3])
            raise UnexpectedAnswer(
                f"the answer is not a {schema.__name__} ({where}): is this a DSPT service, and of "
                "a version near the client's?"
            ) from error

    return read


def error_of(response: httpx.Response) -> Refused:
    """Return the exception for an error response, also one of a proxy (no problem document)."""
    status = response.status_code
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "code" not in problem:
        text = " ".join(response.text.split())[:200]
        return refused(status)(status, f"http_{status}", text or response.reason_phrase)
    errors = [
        Item(item.get("param"), str(item.get("code")), str(item.get("message")))
        for item in problem.get("errors") or ()
    ]
    code, detail = str(problem["code"]), str(problem.get("detail"))
    if code in NO_SUCH_CALL:
        detail += " The client knows this call: is the service an older one?"
    return refused(status)(status, code, detail, errors)
