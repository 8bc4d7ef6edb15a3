"""The calls about batches: thousands of images, classified by a worker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from dspt_client._blocking import blocking, blocking_iterator
from dspt_client._calls import DATASET_ID, Call, as_a, delete, get, path
from dspt_client._connection import Connection
from dspt_client._ended import ended
from dspt_client._packing import OnProgress, Watched, silent, zip_file
from dspt_client._pages import items
from dspt_client.schemas.batches import BatchView
from dspt_client.schemas.predictions import Prediction


class BatchCalls:
    """`client.batches`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(
        self,
        model: str,
        data: str | Path,
        *,
        name: str | None = None,
        top_k: int = 5,
        reject_below: float | None = None,
        on_progress: OnProgress = silent,
    ) -> BatchView:
        """Classify all images of a zip, a folder, or an existing data set (`ds_...`).

        model: an id or an alias. A folder is zipped first; hidden files are not sent. `on_progress`
        is called with the progress of `packing` (in files) and `sending` (in bytes). If the upload
        has to be repeated, it still creates one batch. Raises NotSent and OSError.
        """
        fields = {
            "model": model,
            "name": name,
            "top_k": str(top_k),
            "reject_below": None if reject_below is None else str(reject_below),
        }
        options: dict[str, Any] = {
            "data": {key: value for key, value in fields.items() if value is not None},
            "headers": {"Idempotency-Key": str(uuid4())},
        }
        with ExitStack() as open_files:
            if isinstance(data, str) and DATASET_ID.fullmatch(data):
                options["data"]["dataset_id"] = data
            else:
                opened = zip_file(Path(data), on_progress)
                filename, file = await self._connection.io.work(
                    lambda: open_files.enter_context(opened)
                )
                options["files"] = {
                    "archive": (filename, Watched(file, on_progress), "application/zip")
                }
            call = Call("POST", "/batches", as_a(BatchView), repeatable=True, options=options)
            return await self._connection.call(call)

    def list(self) -> AsyncIterator[BatchView]:
        """Iterate over batches, newest first. Pages are fetched on demand."""
        return items(self._connection, "/batches", BatchView, {})

    async def get(self, batch_id: str) -> BatchView:
        """Return one batch."""
        return await self._connection.call(get(path("batches", batch_id), as_a(BatchView)))

    async def wait(
        self, batch_id: str, *, timeout: float | None = None, on_progress: OnProgress = silent
    ) -> BatchView:
        """Return the batch once it has ended, or after `timeout` seconds; see its `status`.

        `on_progress` is called with `classifying`, the number of images done, and the total.
        """
        get = partial(self.get, batch_id)
        return await ended(self._connection, get, "classifying", timeout, on_progress)

    async def results(self, batch_id: str) -> AsyncIterator[Prediction]:
        """Iterate over the predictions so far, in the order of the images."""
        for line in (await self.download(batch_id)).splitlines():
            yield Prediction.model_validate(json.loads(line))

    async def download(
        self, batch_id: str, *, format: Literal["ndjson", "csv"] = "ndjson"
    ) -> bytes:
        """Return the results so far as a file."""
        where = path("batches", batch_id, "results")
        return await self._connection.call(get(where, bytes, params={"format": format}))

    async def cancel(self, batch_id: str) -> BatchView:
        """Stop a batch. Its results so far stay."""
        return await self._step(batch_id, "cancel")

    async def retry(self, batch_id: str) -> BatchView:
        """Continue a failed or cancelled batch after its last result."""
        return await self._step(batch_id, "retry")

    async def delete(self, batch_id: str) -> None:
        """Delete an ended batch with its results."""
        await self._connection.call(delete(path("batches", batch_id)))

    async def _step(self, batch_id: str, step: str) -> BatchView:
        where = path("batches", batch_id, step)
        return await self._connection.call(Call("POST", where, as_a(BatchView), repeatable=False))


class Batches:
    """`client.batches`."""

    def __init__(self, connection: Connection) -> None:
        self._core = BatchCalls(connection)

    create = blocking(BatchCalls.create)
    list = blocking_iterator(BatchCalls.list)
    get = blocking(BatchCalls.get)
    wait = blocking(BatchCalls.wait)
    results = blocking_iterator(BatchCalls.results)
    download = blocking(BatchCalls.download)
    cancel = blocking(BatchCalls.cancel)
    retry = blocking(BatchCalls.retry)
    delete = blocking(BatchCalls.delete)
