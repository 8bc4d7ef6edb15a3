"""The calls about jobs. `J`: AsyncJob or Job."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import uuid4

from dspt_client import _job
from dspt_client._audit import Audit
from dspt_client._blocking import blocking, blocking_iterator
from dspt_client._calls import DATASET_ID, NO_SUCH_CALL, Call, as_a, delete, get, nothing, path
from dspt_client._connection import Connection
from dspt_client._exceptions import Refused
from dspt_client._job import AsyncJob, Job
from dspt_client._packing import OnProgress, Watched, check_data, silent, zip_file
from dspt_client._pages import items, matching
from dspt_client._uploads import send_in_parts
from dspt_client.schemas.jobs import JobView
from dspt_client.schemas.predictions import JobPredictions
from dspt_client.schemas.reviews import ReviewView, Verdict, VerdictEvent

J = TypeVar("J")


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
        metadata: Mapping[str, str] | None = None,
        on_progress: OnProgress = silent,
    ) -> J:
        """Tune a classifier on a zip, a folder, or an existing data set (`ds_...`).

        A folder is zipped first; hidden files are not sent. Settings and folders are checked before
        any photo is sent. More than 64 MiB are sent in parts, as `datasets.create` does; the data
        set is then kept after its last job. `on_progress` is called with the progress of `packing`
        (in files), `checking` and `sending` (in bytes). If the upload has to be repeated, it still
        creates one job. Raises NotSent and OSError.
        """
        fields = {
            "config": json.dumps(dict(config)) if config else None,
            "class_names": json.dumps(dict(class_names)) if class_names else None,
            "name": name,
            "metadata": json.dumps(dict(metadata)) if metadata else None,
        }
        form = {key: value for key, value in fields.items() if value is not None}
        with ExitStack() as open_files:
            if isinstance(data, str) and DATASET_ID.fullmatch(data):
                call = _post_once("/jobs", data=form | {"dataset_id": data})
            else:
                await self._connection.io.work(lambda: check_data(Path(data)))
                if form:
                    await self._check(form)
                opened = zip_file(Path(data), on_progress)
                filename, file = await self._connection.io.work(
                    lambda: open_files.enter_context(opened)
                )
                sent = await send_in_parts(self._connection, filename, file, on_progress)
                if sent is not None:
                    call = _post_once("/jobs", data=form | {"dataset_id": sent.id})
                else:
                    content = (filename, Watched(file, on_progress), "application/zip")
                    call = _post_once("/jobs", data=form, files={"dataset": content})
            return self._made(await self._connection.call(call))

    async def list(
        self,
        *,
        status: str | None = None,
        backbone: str | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> AsyncIterator[J]:
        """Iterate over jobs, newest first. Pages are fetched on demand.

        name: part of the name; metadata: pairs that all must match; times: of creation.
        Their `view` is a summary, without what may be large, until `refresh` is called.
        """
        filters = matching(name, metadata, created_after, created_before)
        filters |= {"status": status, "backbone": backbone}
        async for view in items(self._connection, "/jobs", JobView, filters):
            yield self._made(view)

    async def get(self, job_id: str) -> J:
        """Return one job."""
        return self._made(await self._connection.call(_job.get_job(job_id)))

    async def cancel(self, job_id: str) -> J:
        """Stop a job. A running job stops after its current step."""
        return await self._step(job_id, "cancel")

    async def retry(self, job_id: str) -> J:
        """Run a failed or cancelled job again, with the same photos and settings."""
        return await self._step(job_id, "retry")

    async def delete(self, job_id: str) -> None:
        """Delete a finished job. Its model is kept.

        Its photos are deleted with the last job on them; those of a data set that was uploaded by
        itself, or with more than 64 MiB in parts, by `datasets.delete`.
        """
        await self._connection.call(delete(path("jobs", job_id)))

    async def audit(self, job_id: str, *, suspect: bool | None = None) -> Audit:
        """Return the labels to check, most suspicious first.

        suspect: only the suspect labels, or only the others. Default: all.
        """
        return await _job.audit(self._connection, job_id, suspect)

    async def predictions(
        self,
        job_id: str,
        *,
        label: str | None = None,
        predicted: str | None = None,
        right: bool | None = None,
    ) -> JobPredictions:
        """Return the predictions for the photos that the accuracy of a job was measured on.

        label, predicted: only photos with this label, or predicted as this class; right: only right
        or only wrong ones. Default: all.
        """
        return await _job.predictions(self._connection, job_id, label, predicted, right)

    async def review(self, job_id: str, *, since: int | None = None) -> ReviewView:
        """Return the verdicts of people on the labels of a job.

        since: only those given after this `version`; an undone verdict is None there.
        """
        params = {} if since is None else {"since": since}
        where = path("jobs", job_id, "review")
        return await self._connection.call(get(where, as_a(ReviewView), params=params))

    async def save_review(
        self,
        job_id: str,
        verdicts: Mapping[str, Verdict | Mapping[str, Any] | None],
        *,
        version: int | None = None,
    ) -> ReviewView:
        """Save verdicts and return those that changed.

        verdicts: file, named as in the audit -> `{"action": "keep"}`, `{"action": "drop"}`,
        `{"action": "relabel", "label": CLASS}`, for a class that the photos do not have yet with
        `"new_class": True`; or None to undo the verdict. The newest verdict of a file counts.
        version: raises PreconditionFailed if the review has another one. Default: any.
        """
        body = {
            file: verdict.model_dump() if isinstance(verdict, Verdict) else verdict
            for file, verdict in verdicts.items()
        }
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        options = {"json": {"verdicts": body}, "headers": headers}
        where = path("jobs", job_id, "review")
        # Sent twice, the second changes nothing; with a version it would be refused.
        call = Call("PATCH", where, as_a(ReviewView), version is None, options)
        return await self._connection.call(call)

    def verdicts(self, job_id: str) -> AsyncIterator[VerdictEvent]:
        """Iterate over all verdicts on a job in the order in which they were given."""
        where = path("jobs", job_id, "review", "history")
        return items(self._connection, where, VerdictEvent, {}, 1000)

    async def correct(
        self,
        job_id: str,
        *,
        relabel: Mapping[str, str] | None = None,
        drop: Sequence[str] = (),
        keep: Sequence[str] = (),
        new_classes: Iterable[str] | Mapping[str, str | None] = (),
        csv: str | Path | None = None,
        review: bool = False,
        name: str | None = None,
    ) -> J:
        """Create a job on the same photos with corrected labels. The old job is kept.

        relabel: file, named as in the audit -> correct class; drop: files to leave out; keep: files
        whose label is right, which later audits do not suspect again; new_classes: those of
        `relabel` that the photos do not have yet, or a mapping from them to words for the prompt.
        Or csv: the audit's table with its column `correct_label` filled in; or review: the verdicts
        saved in the job's review, `new_classes` may give words. name: default is the name of the
        old job with `(corrected)`. Raises ValueError if several are given, and OSError.

        The photos that the old job held out are held out again. The new job's `view.change` has the
        difference between the two, and `models.compare` compares their models by class.
        """
        where = path("jobs", job_id, "corrections")
        named = {} if name is None else {"name": name}
        changed = bool(relabel or drop or keep)
        if (csv is not None) + review + changed > 1 or (csv is not None and new_classes):
            raise ValueError("pass one of csv, review, and relabel, drop and keep")
        if csv is None:
            changes: dict[str, Any] = {"relabel": dict(relabel or {}), "drop": list(drop)}
            if review:
                changes = {"review": True}
            if keep:  # an older service does not know these two
                changes["keep"] = list(keep)
            if new_classes:
                words = new_classes if isinstance(new_classes, Mapping) else None
                changes["new_classes"] = dict(words or dict.fromkeys(new_classes))
            call = _post_once(where, json={**changes, **named})
        else:
            table = await self._connection.io.work(Path(csv).read_bytes)
            headers = {"Content-Type": "text/csv"}
            call = _post_once(where, content=table, headers=headers, params=named)
        return self._made(await self._connection.call(call))

    async def retrain(
        self, model: str, *, name: str | None = None, config: Mapping[str, Any] | None = None
    ) -> J:
        """Create a job with all photos of a model (id or alias) that have feedback.

        They are added to the photos that the model was tuned on, and their labels count as
        confirmed. name: default is that of the model; config: settings that differ from those of
        the model's job. The job's `view.change` has the difference to that one.
        """
        body = {"name": name, "config": dict(config or {})}
        return self._made(
            await self._connection.call(_post_once(path("models", model, "retrain"), json=body))
        )

    async def _check(self, form: Mapping[str, str]) -> None:
        """Let the service check the settings before the photos are sent."""
        try:
            await self._connection.call(
                Call("POST", "/jobs/check", nothing, repeatable=True, options={"data": form})
            )
        except Refused as error:  # an older service has no such call
            if error.code not in NO_SUCH_CALL:
                raise

    async def _step(self, job_id: str, step: str) -> J:
        call = Call("POST", path("jobs", job_id, step), as_a(JobView), repeatable=False)
        return self._made(await self._connection.call(call))


def _post_once(where: str, **options: Any) -> Call[JobView]:
    """Return a call that creates one job, however often it is sent."""
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
    predictions = blocking(JobCalls[Job].predictions)
    review = blocking(JobCalls[Job].review)
    save_review = blocking(JobCalls[Job].save_review)
    verdicts = blocking_iterator(JobCalls[Job].verdicts)
    correct = blocking(JobCalls[Job].correct)
    retrain = blocking(JobCalls[Job].retrain)
