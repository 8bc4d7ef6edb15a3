"""Shorten Celery's own log lines."""

from __future__ import annotations

from structlog.types import EventDict, WrappedLogger


def drop_task_data(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop the task's data: the job in it is not the one that the worker claims."""
    data = event.get("data")
    if isinstance(data, dict) and "args" in data:
        del event["data"]
    return event
