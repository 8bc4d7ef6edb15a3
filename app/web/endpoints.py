"""Serve the built page, and lead browsers to it."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated

from fastapi import Header, Response
from fastapi.responses import RedirectResponse

from app.kit.http.errors import NotFound
from app.kit.http.routers import public_router
from app.kit.http.rules import rules

router = public_router(include_in_schema=False)

_MEDIA_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "app.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "licences.txt": "text/plain; charset=utf-8",
}
#: No inline code, nothing from other hosts, and no text that becomes markup (Trusted Types).
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class _Asset:
    plain: bytes
    compressed: bytes
    etag: str


@cache
def _asset(name: str) -> _Asset:
    content = (files("app.web") / "static" / name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:32]
    return _Asset(content, gzip.compress(content, mtime=0), f'"{digest}"')


@router.get("/")
@rules(None)
def root(accept: Annotated[str, Header()] = "") -> Response:
    """Redirect browsers to the page. Raises NotFound for programs."""
    if "text/html" not in accept:
        raise NotFound("Not found: /. See /docs.")
    return RedirectResponse("ui/")


@router.get("/ui")
@rules(None)
def page_without_slash() -> Response:
    """Redirect to the page, so that its relative addresses are right."""
    return RedirectResponse("ui/")


@router.get("/ui/")
@rules(None, content_security_policy=POLICY)
def page(if_none_match: Annotated[str, Header()] = "") -> Response:
    """Serve the page. Addresses are relative, so that a proxy may add a prefix."""
    return _response("index.html", if_none_match, "")


@router.get("/ui/{name}")
@rules(None, content_security_policy=POLICY)
def page_asset(
    name: str,
    accept_encoding: Annotated[str, Header()] = "",
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """Serve a file of the page. Raises NotFound for other names."""
    if name not in _MEDIA_TYPES:
        raise NotFound(f"Not found: /ui/{name[:100]}. The page is at /ui/.")
    return _response(name, if_none_match, accept_encoding)


def _response(name: str, if_none_match: str, accept_encoding: str) -> Response:
    asset = _asset(name)
    headers = _HEADERS | {"ETag": asset.etag, "Vary": "Accept-Encoding"}
    if if_none_match.removeprefix("W/") == asset.etag:
        return Response(status_code=304, headers=headers)
    content = asset.plain
    if "gzip" in accept_encoding:
        content, headers["Content-Encoding"] = asset.compressed, "gzip"
    return Response(content, media_type=_MEDIA_TYPES[name], headers=headers)
