"""Open what a worker has stored for a succeeded job."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from dspt_client.schemas.status import TERMINAL

from app.access.caller import Caller
from app.jobs import service
from app.jobs.review.stored_entries import StoredEntries
from app.kit.context import Context
from app.kit.http.errors import Conflict, NotFound
from app.tables.jobs import Job


@dataclass(frozen=True)
class Stored:
    """An open file with entries; `file` closes it."""

    job_id: str
    dataset_id: str
    entries: StoredEntries
    file: ExitStack


def find_stored(
    context: Context, caller: Caller, job_id: str, what: str, key_of: Callable[[Job], str | None]
) -> Stored:
    """Open the `what` (audit or predictions) of a job, which is stored under `key_of(job)`.

    Raises NotFound, or Conflict if the job has none.
    """
    with context.database.read() as session:
        job = service.find(session, caller, job_id)
    key = check_finished(job, what, key_of(job))
    with ExitStack() as stack:
        try:
            entries = StoredEntries(stack.enter_context(context.storage.open(key)))
        except FileNotFoundError as error:
            raise NotFound(
                f"The {what} of the job is no longer in the storage.", code=f"{what}_not_found"
            ) from error
        return Stored(job.id, job.dataset_id, entries, stack.pop_all())
    raise AssertionError("the block above returns or raises")


def check_finished(job: Job, what: str, key: str | None) -> str:
    """Return the storage key of a job's `what`. Raises Conflict if there is none."""
    if job.status not in TERMINAL:
        raise Conflict(
            f"The job is {job.status}. It has {what} once it has succeeded.",
            code="job_not_finished",
        )
    if key is None:
        raise Conflict(f"The job has {job.status} and has no {what}.", code=f"no_{what}")
    return key
