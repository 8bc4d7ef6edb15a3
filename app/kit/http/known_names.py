"""Refuse names that a call does not have: a misspelt field or parameter would have no effect."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from fastapi import FastAPI, Request, params
from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant

from app.kit.http.errors import ProblemItem, Unprocessable
from app.kit.http.openapi import amend_openapi
from app.kit.http.rules import rules_of
from dspt.kit.text import listed

_FORMS = {"multipart/form-data", "application/x-www-form-urlencoded"}
_MOST_NAMED = 10


def forbid_other_fields(app: FastAPI) -> None:
    """Say in the OpenAPI document of `app` that forms have no other fields."""
    amend_openapi(app, _close_forms)


async def refuse_unknown_names(request: Request) -> None:
    """Raise Unprocessable for a query parameter or form field that the call does not have."""
    if rules_of(request.scope).probe:  # monitoring may add parameters
        return
    dependant = request.scope["route"].dependant
    if request.query_params:
        _refuse(request.query_params, _names(dependant, "query_params"), "query parameter")
    if _is_form(request) and (fields := _names(dependant, "body_params")):
        _refuse(await request.form(), fields, "field")


def _close_forms(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        for call in path.values():
            content = call.get("requestBody", {}).get("content", {})
            for kind in content.keys() & _FORMS:
                content[kind]["schema"]["unevaluatedProperties"] = False


def _is_form(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in _FORMS


def _names(dependant: Dependant, which: str) -> list[str]:
    """Return the names of the query parameters, or of the form fields."""
    return [each.alias for each in _params(dependant, which) if _is_named(each)]


def _is_named(field: ModelField) -> bool:
    """Whether it is a parameter or a field, and not a whole body in JSON."""
    return isinstance(field.field_info, params.Query | params.Form)


def _params(dependant: Dependant, which: str) -> Iterator[ModelField]:
    yield from getattr(dependant, which)
    for each in dependant.dependencies:
        yield from _params(each, which)


def _refuse(given: Iterable[str], known: Collection[str], what: str) -> None:
    # curl sends `?=` for an empty variable.
    unknown = sorted({name[:100] for name in given if name and name not in known})
    if not unknown:
        return
    # Guesses take time, and there may be a hundred thousand names.
    names = listed(unknown, _MOST_NAMED, lambda name: _with_a_guess(name, known))
    allowed = f"Allowed: {', '.join(known)}." if known else "This call has none."
    raise Unprocessable(
        f"Unknown {what}: {names}. {allowed}",
        code="unknown_field",
        errors=[
            ProblemItem(param=name, code="unknown_field", message=f"Unknown {what}.")
            for name in unknown[:_MOST_NAMED]
        ],
    )


def _with_a_guess(name: str, known: Collection[str]) -> str:
    like = get_close_matches(name, known, 1)
    return f"{name!r} (did you mean {like[0]!r}?)" if like else repr(name)
