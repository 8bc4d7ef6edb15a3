"""Tell requests of the service's own page from those that a page of another site makes."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Scope

from app.kit.http.errors import Forbidden

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def from_another_site(headers: Headers, host: str) -> bool:
    """Judge by the browser's headers, which programs do not send. `none`: a typed address."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and origin.rpartition("//")[2].lower() != host.lower()


def check_own_page(scope: Scope) -> None:
    """Raise Forbidden unless the service's own page sent this request, which has a cookie.

    A request that changes something has to prove it: browsers send `Sec-Fetch-Site` over https and
    on localhost, and `Origin` with every such request.
    """
    headers = Headers(scope=scope)
    proves = scope["method"] in SAFE_METHODS or "origin" in headers or "sec-fetch-site" in headers
    if not proves or from_another_site(headers, headers.get("host", "")):
        raise Forbidden(
            "A request that signs in, or has the cookie of a session, must come from the service's "
            "own page. If it does, a proxy in between must pass on the header `Host`. Send "
            "`Authorization: Bearer KEY` from elsewhere.",
            code="cross_site",
        )
