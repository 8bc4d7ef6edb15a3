"""Requests as values, and answers read from responses. Nothing here sends anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from dspt_client._exceptions import Item, Refused, UnexpectedAnswer, refused

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
#: Of a service that knows nothing of a path, or not with this method.
NO_SUCH_CALL = frozenset({"not_found", "method_not_allowed"})


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and how to read its answer."""

    method: str
    path: str
    read: Callable[[bytes], T]
    #: Whether it may be sent twice: it changes nothing, or the second time does no more.
    repeatable: bool
    #: What httpx.Client.build_request takes: params, json, files ...
    options: Mapping[str, Any] = field(default_factory=dict)


class Page(BaseModel, Generic[T]):
    """One page of a list; of the service's own schema what is needed to read on."""

    data: list[T]
    next: str | None = None


def path(*parts: str) -> str:
    """`/jobs/ID`: the parts as they are, whatever characters they hold."""
    return "".join("/" + quote(part, safe="") for part in parts)


def get(where: str, read: Callable[[bytes], T], **options: Any) -> Call[T]:
    return Call("GET", where, read, True, options)


def delete(where: str, **options: Any) -> Call[None]:
    return Call("DELETE", where, nothing, True, options)


def nothing(_: bytes) -> None:
    """Of an answer without content."""


def as_a(schema: type[M]) -> Callable[[bytes], M]:
    """Reads a body as `schema`. What the schema does not know is passed over."""

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
    """What an answer that is an error says. Proxies answer too, and not with a problem document."""
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
