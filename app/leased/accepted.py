"""What calls that create a job, a batch or a comparison have in common."""

from __future__ import annotations

from typing import Any

from fastapi import Header, Request, Response

from app.leased.service import Created, V


def idempotency_key(noun: str) -> Any:
    """Return the declaration of the header Idempotency-Key of a call that creates a `noun`."""
    return Header(
        min_length=1,
        max_length=255,
        description=f"Makes a retry safe: the same key returns the same {noun}.",
    )


def accepted(request: Request, response: Response, created: Created[V]) -> V:
    """Wake the housekeeper, set the headers of a 202, and return what was created."""
    request.app.state.housekeeper.wake()
    response.headers["Location"] = created.view.links["self"]
    if created.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return created.view
