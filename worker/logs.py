"""Add the job id to Celery's own log lines."""

from __future__ import annotations

import re

from structlog.types import EventDict, WrappedLogger

_JOB_ID = re.compile(r"job_[0-9a-z]{26}")


def name_job(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace Celery's task data in a log line by the job id."""
    data = event.get("data")
    if isinstance(data, dict) and "args" in data:
        del event["data"]
        if found := _JOB_ID.search(str(data["args"])):
            event.setdefault("job_id", found[0])
    return event
