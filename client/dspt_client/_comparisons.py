"""The calls about comparisons of two classifiers, computed by a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from uuid import uuid4

from dspt_client._blocking import blocking, blocking_iterator
from dspt_client._calls import DATASET_ID, Call, as_a, delete, get, path
from dspt_client._connection import Connection
from dspt_client._datasets import DatasetCalls
from dspt_client._ended import ended
from dspt_client._packing import OnProgress, silent
from dspt_client._pages import items
from dspt_client.schemas.comparisons import ComparisonJobView


class ComparisonCalls:
    """`client.comparisons`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(
        self,
        a: str,
        b: str,
        data: str | Path | None = None,
        *,
        all: bool = False,
        name: str | None = None,
        on_progress: OnProgress = silent,
    ) -> ComparisonJobView:
        """Compare two classifiers (ids or aliases) on the same photos, by a worker.

        data: a data set of the service (`ds_...`), or a zip or folder, which is uploaded as a data
        set of its own. Default: the data set that both were tuned on. `all`: all photos, if neither
        model was tuned on any of them; else the test part, or what the jobs of both held out.
        `on_progress` is called as by `datasets.create`. Raises NotSent and OSError.
        """
        if data is not None and not (isinstance(data, str) and DATASET_ID.fullmatch(data)):
            uploads = DatasetCalls(self._connection)
            data = (await uploads.create(data, on_progress=on_progress)).id
        wanted = {"a": a, "b": b, "dataset_id": data, "all": all, "name": name}
        options = {"json": wanted, "headers": {"Idempotency-Key": str(uuid4())}}
        call = Call(
            "POST", "/comparisons", as_a(ComparisonJobView), repeatable=True, options=options
        )
        return await self._connection.call(call)

    def list(self) -> AsyncIterator[ComparisonJobView]:
        """Iterate over comparisons, newest first, without results. Pages are fetched on demand."""
        return items(self._connection, "/comparisons", ComparisonJobView, {})

    async def get(self, comparison_id: str) -> ComparisonJobView:
        """Return one comparison, with its `result` once it has succeeded."""
        where = path("comparisons", comparison_id)
        return await self._connection.call(get(where, as_a(ComparisonJobView)))

    async def wait(
        self, comparison_id: str, *, timeout: float | None = None, on_progress: OnProgress = silent
    ) -> ComparisonJobView:
        """Return the comparison once it has ended, or after `timeout` seconds; see its `status`.

        `on_progress` is called with `comparing`, the number of images done, and the total.
        """
        get = partial(self.get, comparison_id)
        return await ended(self._connection, get, "comparing", timeout, on_progress)

    async def cancel(self, comparison_id: str) -> ComparisonJobView:
        """Stop a comparison."""
        return await self._step(comparison_id, "cancel")

    async def retry(self, comparison_id: str) -> ComparisonJobView:
        """Queue a failed or cancelled comparison again."""
        return await self._step(comparison_id, "retry")

    async def delete(self, comparison_id: str) -> None:
        """Delete an ended comparison. The models and the data set stay."""
        await self._connection.call(delete(path("comparisons", comparison_id)))

    async def _step(self, comparison_id: str, step: str) -> ComparisonJobView:
        where = path("comparisons", comparison_id, step)
        call = Call("POST", where, as_a(ComparisonJobView), repeatable=False)
        return await self._connection.call(call)


class Comparisons:
    """`client.comparisons`."""

    def __init__(self, connection: Connection) -> None:
        self._core = ComparisonCalls(connection)

    create = blocking(ComparisonCalls.create)
    list = blocking_iterator(ComparisonCalls.list)
    get = blocking(ComparisonCalls.get)
    wait = blocking(ComparisonCalls.wait)
    cancel = blocking(ComparisonCalls.cancel)
    retry = blocking(ComparisonCalls.retry)
    delete = blocking(ComparisonCalls.delete)
