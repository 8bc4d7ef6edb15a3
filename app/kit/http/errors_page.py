"""Pages about the error types. Problem documents link to them, and they need no other host."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from fastapi.responses import HTMLResponse

from app.kit.http.error_types import ERROR_TYPES
from app.kit.http.errors import NotFound
from app.kit.http.routers import public_router
from app.kit.http.rules import rules

router = public_router("/errors", include_in_schema=False)


@router.get("")
@rules(None)
def error_types() -> HTMLResponse:
    """List all error types."""
    rows = (
        f'<li><a href="errors/{code}">{code}</a>: {escape(kind.meaning)}</li>'
        for code, kind in sorted(ERROR_TYPES.items())
    )
    return _page("Errors", ["<ul>", *rows, "</ul>"])


@router.get("/{code}")
@rules(None)
def error_type(code: str) -> HTMLResponse:
    """Explain one error type. Raises NotFound."""
    kind = ERROR_TYPES.get(code)
    if kind is None:
        raise NotFound(f"There is no error type {code[:100]!r}; /errors lists all.")
    statuses = " or ".join(map(str, kind.statuses))
    lines = [f"<p>HTTP {statuses}: {escape(kind.meaning)}</p>", f"<p>{escape(kind.fix)}</p>"]
    return _page(code, [*lines, '<p><a href="../errors">All errors</a></p>'])


def _page(title: str, body: list[str]) -> HTMLResponse:
    return HTMLResponse("\n".join(_document(title, body)))


def _document(title: str, body: list[str]) -> Iterator[str]:
    yield f'<!doctype html>\n<html lang="en">\n<title>DSPT: {title}</title>\n<h1>{title}</h1>'
    yield from body
    yield "</html>"
