"""What callers see of a captured prediction."""

from __future__ import annotations

from datetime import timedelta

from dspt_client.schemas.feedback import CapturedView

from app.kit.settings import Settings
from app.tables.captures import CapturedPrediction

_COLUMNS = frozenset(CapturedView.model_fields) - {"object", "expires_at", "links"}


def view(captured: CapturedPrediction, settings: Settings) -> CapturedView:
    """Return the view of a captured prediction."""
    base = f"/predictions/{captured.id}"
    links = {"self": base, "image": f"{base}/image", "model": f"/models/{captured.model_id}"}
    columns = {name: getattr(captured, name) for name in _COLUMNS}
    expires_at = captured.created_at + timedelta(days=settings.keep_captured_days)
    return CapturedView.model_validate({**columns, "expires_at": expires_at, "links": links})
