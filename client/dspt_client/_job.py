"""One job: its last known state, and the calls about it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing, nullcontext

from dspt_client import _events
from dspt_client._audit import Audit
from dspt_client._blocking import blocking, blocking_iterator
from dspt_client._calls import Call, as_a, get, path
from dspt_client._connection import Connection
from dspt_client._exceptions import JobCancelled, JobFailed, WaitTimeout
from dspt_client.schemas.jobs import EventView, JobView
from dspt_client.schemas.predictions import JobPredictions
from dspt_client.schemas.status import TERMINAL, Status

#: About 1 MB.
_AUDIT_PAGE = 5000


def get_job(job_id: str) -> Call[JobView]:
    return get(path("jobs", job_id), as_a(JobView))


async def audit(connection: Connection, job_id: str, suspect: bool | None) -> Audit:
    """Fetch all pages of an audit. An older service sends everything at once."""
    params: dict[str, str | int] = {"limit": _AUDIT_PAGE}
    if suspect is not None:
        params["suspect"] = str(suspect).lower()
    where = path("jobs", job_id, "audit")
    result = page = await connection.call(get(where, as_a(Audit), params=params))
    while page.next is not None:
        page = await connection.call(get(where, as_a(Audit), params=params | {"after": page.next}))
        result.entries += page.entries
    result.has_more, result.next = False, None
    if suspect is not None:  # an older service does not filter
        result.entries = [entry for entry in result.entries if entry.suspect is suspect]
    return result


async def predictions(
    connection: Connection,
    job_id: str,
    label: str | None,
    predicted: str | None,
    right: bool | None,
) -> JobPredictions:
    """Fetch all pages of the predictions with this label, predicted class and result."""
    wanted = {"label": label, "predicted": predicted, "right": right}
    params: dict[str, str | int] = {"limit": _AUDIT_PAGE}
    params |= {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in wanted.items()
        if value is not None
    }
    where = path("jobs", job_id, "predictions")
    result = page = await connection.call(get(where, as_a(JobPredictions), params=params))
    while page.next is not None:
        following = get(where, as_a(JobPredictions), params=params | {"after": page.next})
        page = await connection.call(following)
        result.entries += page.entries
    result.has_more, result.next = False, None
    return result


class _Seen:
    """Properties of both kinds of jobs, read from `view`."""

    view: JobView
    """The last known state; `refresh` updates it."""

    @property
    def id(self) -> str:
        return self.view.id

    @property
    def status(self) -> Status:
        return self.view.status

    @property
    def model_id(self) -> str | None:
        """Id of the model that the job created; None until it has succeeded."""
        return self.view.model_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status}>"


class AsyncJob(_Seen):
    def __init__(self, connection: Connection, view: JobView) -> None:
        self._connection = connection
        self.view = view

    async def refresh(self) -> None:
        """Update `view`."""
        self.view = await self._connection.call(get_job(self.id))

    async def wait(self, *, progress: bool = False, timeout: float | None = None) -> None:
        """Wait until the job has succeeded; `view` is then up to date.

        progress: draw a bar on a terminal, and list the files that were left out. Raises JobFailed,
        JobCancelled, or WaitTimeout after `timeout` seconds (up to five seconds late). The job
        continues after a WaitTimeout.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if progress:
            from dspt_client._bar import Bar, show_left_out

            drawn: Bar | nullcontext[None] = Bar(self.status)
        else:
            drawn = nullcontext()
        if self.status not in TERMINAL:
            followed = _events.follow(self._connection, self.id, 0, deadline)
            with drawn as bar:
                try:
                    async with aclosing(followed) as events:
                        async for event in events:
                            if bar is not None:
                                bar.show(event)
                except _events.OutOfTime as error:
                    await self.refresh()
                    if self.status not in TERMINAL:
                        raise WaitTimeout(self.view, timeout or 0.0) from error
            await self.refresh()
        elif self.view.summary:
            await self.refresh()
        if progress:
            show_left_out(self.view)
        if self.status == Status.FAILED:
            raise JobFailed(self.view)
        if self.status == Status.CANCELLED:
            raise JobCancelled(self.view)

    async def events(self, after: int = 0) -> AsyncIterator[EventView]:
        """Iterate over the events after number `after`, until the job ends."""
        async with aclosing(_events.follow(self._connection, self.id, after)) as events:
            async for event in events:
                yield event

    async def audit(self, *, suspect: bool | None = None) -> Audit:
        """Return the labels to check, once the job has succeeded.

        suspect: only the suspect labels, or only the others. Default: all.
        """
        return await audit(self._connection, self.id, suspect)

    async def predictions(
        self,
        *,
        label: str | None = None,
        predicted: str | None = None,
        right: bool | None = None,
    ) -> JobPredictions:
        """Return the predictions for the photos that the accuracy was measured on.

        label, predicted: only photos with this label, or predicted as this class; right: only right
        or only wrong ones. Default: all.
        """
        return await predictions(self._connection, self.id, label, predicted, right)


class Job(_Seen):
    def __init__(self, core: AsyncJob) -> None:
        self._core = core

    @property
    def view(self) -> JobView:  # type: ignore[override]
        """The last known state; `refresh` updates it."""
        return self._core.view

    refresh = blocking(AsyncJob.refresh)
    wait = blocking(AsyncJob.wait)
    events = blocking_iterator(AsyncJob.events)
    audit = blocking(AsyncJob.audit)
    predictions = blocking(AsyncJob.predictions)
