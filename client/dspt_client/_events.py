"""Follow the events of a job, reconnecting when necessary."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import get_args

import httpx
from pydantic import ValidationError

from dspt_client._calls import Call, as_a, get, nothing, path
from dspt_client._connection import Connection
from dspt_client._exceptions import (
    ClientError,
    ServerError,
    TooManyRequests,
    UnexpectedAnswer,
    Unreachable,
)
from dspt_client._retries import Retries, is_passing
from dspt_client.schemas.jobs import EventView, JobView
from dspt_client.schemas.status import TERMINAL

#: The service sends something at least every 15 seconds; after this time the connection is dead.
_DEAD_SECONDS = 60.0
#: With a deadline, the clock is checked at least this often.
_LOOK_SECONDS = 5.0
#: Failures in a row before giving up: about a minute, the time of a restart.
_PATIENCE = Retries(most=10)
_TYPES = frozenset(get_args(EventView.model_fields["type"].annotation))


class OutOfTime(Exception):
    """The deadline has passed and the job has not ended."""


async def follow(
    connection: Connection, job_id: str, after: int, deadline: float | None = None
) -> AsyncGenerator[EventView, None]:
    """Iterate over the events after number `after`, up to the last one of an ended job.

    After a broken connection it continues after the last event: none is lost or repeated.
    deadline: value of time.monotonic(). Raises OutOfTime at most five seconds after it.
    """
    once = connection.without_retries()
    failures = 0
    ended = False  # the job, as far as the stream or the service said so
    while True:
        call = _stream(job_id, after, _silence(deadline))
        failure: ClientError
        cause: BaseException | None = None
        try:
            async with once.opened(call) as response:
                async for line in once.io.lines(response):
                    failures = 0
                    event = _event(line)
                    if event is not None and event.id > after:
                        after = event.id
                        if event.type == "status":
                            ended = event.data.get("status") in TERMINAL
                        yield event
                    _silence(deadline)
            # Either the job has ended, or the process that served the stream, or both in turn.
            if (await once.call(get(path("jobs", job_id), as_a(JobView)))).status in TERMINAL:
                if ended:
                    return
                ended = True
                continue  # with the events that are left
            failure = UnexpectedAnswer(f"the event stream of {job_id} keeps breaking off")
        except httpx.RequestError as error:
            failure, cause = connection.unreachable(error), error
        except Unreachable as error:
            failure, cause = error, error.__cause__
        except (TooManyRequests, ServerError) as error:
            if not is_passing(error.status):
                raise
            failure = error
        if deadline is not None and isinstance(cause, httpx.ReadTimeout):
            continue  # check the clock
        failures += 1
        pause = _PATIENCE.pause(failures)
        if pause is None:
            raise failure
        await once.io.sleep(pause if deadline is None else min(pause, _left(deadline)))


def _left(deadline: float) -> float:
    """Return the seconds left. Raises OutOfTime."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise OutOfTime
    return left


def _silence(deadline: float | None) -> float:
    """Return the seconds without data after which a connection is dead. Raises OutOfTime."""
    return _DEAD_SECONDS if deadline is None else min(_left(deadline), _LOOK_SECONDS)


def _stream(job_id: str, after: int, silence: float) -> Call[None]:
    headers = {"Accept": "text/event-stream"}
    if after:
        headers["Last-Event-ID"] = str(after)
    timeout = httpx.Timeout(30.0, read=silence)
    return get(path("jobs", job_id, "events"), nothing, headers=headers, timeout=timeout)


def _event(line: str) -> EventView | None:
    """Return the event in a line of the stream; None for other lines and unknown types.

    The data of each event is one line of JSON that repeats its other fields.
    """
    if not line.startswith("data:"):
        return None
    try:
        return EventView.model_validate_json(line.removeprefix("data:"))
    except ValidationError as error:
        if _is_of_a_newer_kind(error):
            return None
        raise UnexpectedAnswer("an event of the job cannot be read") from error


def _is_of_a_newer_kind(error: ValidationError) -> bool:
    return all(e["loc"] == ("type",) and e["input"] not in _TYPES for e in error.errors())
