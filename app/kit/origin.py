"""Which request something was asked for in: kept with a job, so that its worker can say so too."""

from __future__ import annotations

import structlog

from app.kit.tracing import current_traceparent


def origin() -> dict[str, str | None]:
    """Values for the columns `request_id` and `traceparent`, of the request that this runs in."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return {"request_id": request_id, "traceparent": current_traceparent()}
