"""The calls about jobs. `J` is the job that a face of the client hands out."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import uuid4

from app.client import _job
from app.client._audit import Audit
from app.client._blocking import blocking, blocking_iterator
from app.client._calls import Call, Page, as_a, delete, get, path
from app.client._connection import Connection
from app.client._job import AsyncJob, Job
from app.client._packing import OnProgress, Watched, silent, zip_file
from app.jobs.schemas import JobView

J = TypeVar("J")
_DATASET_ID = re.compile(r"ds_[0-9a-z]{26}")
_AT_ONCE = 50


class JobCalls(Generic[J]):
    """`client.jobs`."""

    def __init__(self, connection: Connection, made: Callable[[JobView], J]) -> None:
        self._connection = connection
        self._made = made

    async def create(
        self,
        data: str | Path,
        *,
        config: Mapping[str, Any] | None = None,
        class_names: Mapping[str, str] | None = None,
        name: str | None = None,
        told: OnProgress = silent,
    ) -> J:
        """Have a classifier tuned on a zip, a folder, or a data set that is there (`ds_...`).

        A folder is zipped first. `told` is called with what is done of `packing` (in files) and
        `sending` (in bytes). However often the upload has to be tried, it makes one job. Raises
        OSError, and DatasetError and ImageError (dspt.errors) for a folder that cannot be read.
        """
        fields = {
            "config": json.dumps(dict(config)) if config else None,
            "class_names": json.dumps(dict(class_names)) if class_names else None,
            "name": name,
        }
        form = {key: value for key, value in fields.items() if value is not None}
        with ExitStack() as open_files:
            if isinstance(data, str) and _DATASET_ID.fullmatch(data):
                call = _post_once("/jobs", data=form | {"dataset_id": data})
            else:
                opened = zip_file(Path(data), told)
                filename, file = await self._connection.io.work(
                    lambda: open_files.enter_context(opened)
                )
                files = {"dataset": (filename, Watched(file, told), "application/zip")}
                call = _post_once("/jobs", data=form, files=files)
            return self._made(await self._connection.call(call))

    async def list(self, *, status: str | None = None) -> AsyncIterator[J]:
        """Jobs, newest first; `status`: only those in it. Pages are fetched as they are needed."""
        asked = {"limit": _AT_ONCE, "status": status, "after": None}
        while True:
            params = {key: value for key, value in asked.items() if value is not None}
            page = await self._connection.call(get("/jobs", as_a(Page[JobView]), params=params))
            for view in page.data:
                yield self._made(view)
            if page.next is None:
                return
            asked["after"] = page.next

    async def get(self, job_id: str) -> J:
        """One job."""
        return self._made(await self._connection.call(_job.look(job_id)))

    async def cancel(self, job_id: str) -> J:
        """Stop a job. One that is running stops after the step it is in."""
        return await self._step(job_id, "cancel")

    async def retry(self, job_id: str) -> J:
        """Try a failed or cancelled job again, with the same photos and settings."""
        return await self._step(job_id, "retry")

    async def delete(self, job_id: str) -> None:
        """Delete a finished job; the model that it made stays."""
        await self._connection.call(delete(path("jobs", job_id)))

    async def audit(self, job_id: str) -> Audit:
        """The labels to check, the most suspicious first."""
        return await self._connection.call(_job.audit(job_id))

    async def correct(
        self,
        job_id: str,
        *,
        relabel: Mapping[str, str] | None = None,
        drop: Sequence[str] = (),
        csv: str | Path | None = None,
    ) -> J:
        """A new job on the same photos with labels put right; the job corrected stays as it is.

        `relabel` maps files, named as in the audit, to the right class; `drop` leaves files out.
        Or `csv`: the audit's table with its column `correct_label` filled in. Raises ValueError
        where both are given, OSError.
        """
        where = path("jobs", job_id, "corrections")
        if csv is None:
            call = _post_once(where, json={"relabel": dict(relabel or {}), "drop": list(drop)})
        elif relabel or drop:
            raise ValueError("either csv, or relabel and drop")
        else:
            table = await self._connection.io.work(Path(csv).read_bytes)
            call = _post_once(where, content=table, headers={"Content-Type": "text/csv"})
        return self._made(await self._connection.call(call))

    async def _step(self, job_id: str, step: str) -> J:
        call = Call("POST", path("jobs", job_id, step), as_a(JobView), repeatable=False)
        return self._made(await self._connection.call(call))


def _post_once(where: str, **options: Any) -> Call[JobView]:
    """A call that makes one job, however often it is sent."""
    headers = {"Idempotency-Key": uuid4().hex, **options.pop("headers", {})}
    read = as_a(JobView)
    return Call("POST", where, read, repeatable=True, options={**options, "headers": headers})


class Jobs:
    """`client.jobs`."""

    def __init__(self, connection: Connection) -> None:
        self._core = JobCalls(connection, lambda view: Job(AsyncJob(connection, view)))

    create = blocking(JobCalls[Job].create)
    list = blocking_iterator(JobCalls[Job].list)
    get = blocking(JobCalls[Job].get)
    cancel = blocking(JobCalls[Job].cancel)
    retry = blocking(JobCalls[Job].retry)
    delete = blocking(JobCalls[Job].delete)
    audit = blocking(JobCalls[Job].audit)
    correct = blocking(JobCalls[Job].correct)
