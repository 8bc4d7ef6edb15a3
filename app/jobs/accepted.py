"""What calls that create a job have in common."""

from __future__ import annotations

from typing import Annotated

from dspt_client.schemas.jobs import JobView
from fastapi import Header, Request, Response

from app.jobs.service import Created
from app.kit.http.schema_types import Omittable

IdempotencyKey = Annotated[
    str | Omittable,
    Header(
        min_length=1,
        max_length=255,
        description="Makes a retry safe: the same key returns the same job.",
    ),
]


def accepted(request: Request, response: Response, created: Created) -> JobView:
    """Wake the housekeeper, set the headers of a 202, and return the job."""
    request.app.state.housekeeper.wake()
    response.headers["Location"] = created.job.links["self"]
    if created.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return created.job
