"""The interactive API documentation, without anything from another host.

Swagger UI (Apache-2.0) comes with the fastapi-offline package (MIT).
"""

from __future__ import annotations

from importlib.resources import files

from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

from app.kit.http.errors import NotFound
from app.kit.http.routers import public_router
from app.kit.http.rules import rules

router = public_router("/docs", include_in_schema=False)

_ASSETS = files("fastapi_offline") / "static"
_MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
#: The page holds a script that starts Swagger UI, whose icons are data URLs.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("")
@rules(None, content_security_policy=_POLICY)
def docs() -> HTMLResponse:
    """Serve Swagger UI. Addresses are relative, so that a proxy may add a prefix."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="DSPT API",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="docs/favicon.png",
    )


@router.get("/{asset}")
@rules(None)
def docs_asset(asset: str) -> Response:
    """Serve a script, style or icon of the page. Raises NotFound for other names."""
    if asset not in _MEDIA_TYPES:
        raise NotFound(f"There is no {asset} here; the API's documentation is at /docs.")
    return Response((_ASSETS / asset).read_bytes(), media_type=_MEDIA_TYPES[asset])
