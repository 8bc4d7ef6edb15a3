"""Webhooks and their events, as the API returns and sends them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from dspt_client.schemas.jobs import JobError
from dspt_client.schemas.open_enum import OpenEnum


class EventType(StrEnum):
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    BATCH_SUCCEEDED = "batch.succeeded"
    BATCH_FAILED = "batch.failed"
    BATCH_CANCELLED = "batch.cancelled"
    COMPARISON_SUCCEEDED = "comparison.succeeded"
    COMPARISON_FAILED = "comparison.failed"
    COMPARISON_CANCELLED = "comparison.cancelled"


class DeliveryStatus(StrEnum):
    #: It waits for its first or next attempt, or one is being made.
    PENDING = "pending"
    #: The receiver answered 2xx.
    SUCCEEDED = "succeeded"
    #: All attempts failed.
    FAILED = "failed"


class EventData(BaseModel):
    """The job, batch or comparison of an event, in short; its address returns all of it."""

    id: str
    object: str = Field(description="`job`, `batch` or `comparison`.")
    name: str
    status: str
    error: JobError | None = Field(description="Why it failed.")
    links: dict[str, str]


class WebhookEvent(BaseModel):
    """The body of a request to a webhook."""

    type: Annotated[EventType, OpenEnum()]
    timestamp: datetime = Field(description="When the job, batch or comparison ended.")
    data: EventData


class WebhookView(BaseModel):
    """An address that receives events."""

    id: str
    object: Literal["webhook"] = "webhook"
    url: str
    events: list[Annotated[EventType, OpenEnum()]]
    created_at: datetime
    failures: int = Field(description="Deliveries in a row of which all attempts failed.")
    disabled_at: datetime | None = Field(description="Null while events are sent.")
    disabled_reason: str | None
    links: dict[str, str]


class NewWebhookView(WebhookView):
    """A new webhook with its secret, which is not shown again."""

    secret: str = Field(description="Verifies the signatures; `whsec_` and base64.")


class DeliveryView(BaseModel):
    """One event for one webhook, with the result of the last attempt."""

    id: str = Field(description="The header `webhook-id` of all attempts.")
    object: Literal["webhook_delivery"] = "webhook_delivery"
    webhook_id: str
    status: Annotated[DeliveryStatus, OpenEnum()]
    event: WebhookEvent
    created_at: datetime
    attempts: int = Field(description="Since it was created or replayed.")
    next_attempt_at: datetime | None = Field(description="Null unless pending.")
    last_attempt_at: datetime | None
    response_status: int | None = Field(description="HTTP status of the last answer.")
    error: str | None = Field(description="Why the last attempt failed.")
    links: dict[str, str]
