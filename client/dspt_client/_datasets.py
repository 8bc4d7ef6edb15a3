"""The calls about data sets and their photos."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Literal

from dspt_client._blocking import blocking, blocking_iterator
from dspt_client._calls import Call, as_a, delete, get, path
from dspt_client._connection import Connection
from dspt_client._exceptions import NotSent
from dspt_client._packing import OnProgress, Watched, check_data, silent, zip_file
from dspt_client._pages import items, matching
from dspt_client._uploads import send_in_parts
from dspt_client.schemas.datasets import DatasetDetail, DatasetHealth, DatasetView, PhotoView

Size = Literal["192", "384", "1280", "original"]
_PHOTOS_AT_ONCE = 1000


class DatasetCalls:
    """`client.datasets`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(
        self,
        data: str | Path,
        *,
        metadata: Mapping[str, str] | None = None,
        on_progress: OnProgress = silent,
    ) -> DatasetDetail:
        """Upload a zip or a folder for jobs to come; the same photos are stored once.

        A folder is zipped first; hidden files are not sent. More than 64 MiB are sent in parts: if
        the upload is interrupted, the same call goes on where it was. `on_progress` is called with
        the progress of `packing` (in files), `checking` and `sending` (in bytes). Raises NotSent
        and OSError.
        """
        work = self._connection.io.work
        with ExitStack() as open_files:
            await work(lambda: check_data(Path(data)))
            opened = zip_file(Path(data), on_progress)
            filename, file = await work(lambda: open_files.enter_context(opened))
            sent = await send_in_parts(self._connection, filename, file, on_progress)
            if sent is not None:
                if metadata:
                    await self.update(sent.id, metadata=metadata)
                    return sent.model_copy(update={"metadata": dict(metadata)})
                return sent
            files = {"dataset": (filename, Watched(file, on_progress), "application/zip")}
            options = {"files": files, "data": _form(metadata)}
            made = as_a(DatasetDetail)
            call = Call("POST", "/datasets", made, repeatable=True, options=options)
            return await self._connection.call(call)

    async def add(
        self,
        dataset_id: str,
        data: str | Path,
        *,
        label: str | None = None,
        unlabelled: bool = False,
        metadata: Mapping[str, str] | None = None,
        on_progress: OnProgress = silent,
    ) -> DatasetDetail:
        """Add photos to a data set and return the new version, which shares its files.

        data: a folder or a zip, as for `create`; one class is enough. label: class of all photos in
        a folder, which then needs no class folders. unlabelled: all photos in a folder are used for
        training without labels. A job on the new version encodes the new photos only. Raises
        NotSent and OSError.
        """
        where, folder = path("datasets", dataset_id, "images"), Path(data)
        if unlabelled and (label is not None or not folder.is_dir()):
            raise NotSent("`unlabelled` needs a folder of photos, and no `label`.")
        if label is not None and (not label.strip() or "/" in label or not folder.is_dir()):
            raise NotSent("`label` needs a folder of photos, and a name of a class without /.")
        with ExitStack() as open_files:
            top = "unlabelled" if unlabelled else label
            opened = zip_file(folder, on_progress, top=f"{top}/" if top else "")
            filename, file = await self._connection.io.work(
                lambda: open_files.enter_context(opened)
            )
            files = {"archive": (filename, Watched(file, on_progress), "application/zip")}
            options = {"files": files, "data": _form(metadata)}
            call = Call("POST", where, as_a(DatasetDetail), repeatable=True, options=options)
            return await self._connection.call(call)

    def list(
        self,
        *,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> AsyncIterator[DatasetView]:
        """Iterate over data sets, newest first. Pages are fetched on demand.

        name: part of the name; metadata: pairs that all must match; times: of creation.
        """
        filters = matching(name, metadata, created_after, created_before)
        return items(self._connection, "/datasets", DatasetView, filters)

    async def update(self, dataset_id: str, *, metadata: Mapping[str, str]) -> DatasetView:
        """Replace the metadata of a data set."""
        options = {"json": {"metadata": dict(metadata)}}
        where = path("datasets", dataset_id)
        call = Call("PATCH", where, as_a(DatasetView), repeatable=True, options=options)
        return await self._connection.call(call)

    async def get(self, dataset_id: str) -> DatasetDetail:
        """Return one data set, with its classes."""
        return await self._connection.call(get(path("datasets", dataset_id), as_a(DatasetDetail)))

    async def health(self, dataset_id: str) -> DatasetHealth:
        """Return what may be wrong with the photos of a data set, and how to fix it.

        dataset_id: of a job, `job.view.dataset.id`. The newest job on the data set made the report;
        raises Conflict while the first one runs.
        """
        where = path("datasets", dataset_id, "health")
        return await self._connection.call(get(where, as_a(DatasetHealth)))

    async def delete(self, dataset_id: str) -> None:
        """Delete a data set that no job uses."""
        await self._connection.call(delete(path("datasets", dataset_id)))

    def images(
        self,
        dataset_id: str,
        *,
        split: Literal["train", "val", "test"] | None = None,
        label: str | None = None,
        given: str | None = None,
    ) -> AsyncIterator[PhotoView]:
        """Iterate over the photos of a data set, in the order of their paths.

        label: only of this class; given: only of this class in the uploaded zip.
        """
        filters = {"split": split, "label": label, "given": given}
        where = path("datasets", dataset_id, "images")
        return items(self._connection, where, PhotoView, filters, _PHOTOS_AT_ONCE)

    async def image(self, dataset_id: str, number: int, *, size: Size = "1280") -> bytes:
        """Return one photo as JPEG; size: pixels of its longer side."""
        where = path("datasets", dataset_id, "images", str(number))
        return await self._connection.call(get(where, bytes, params={"size": size}))


def _form(metadata: Mapping[str, str] | None) -> dict[str, str]:
    return {"metadata": json.dumps(dict(metadata))} if metadata else {}


class Datasets:
    """`client.datasets`."""

    def __init__(self, connection: Connection) -> None:
        self._core = DatasetCalls(connection)

    create = blocking(DatasetCalls.create)
    add = blocking(DatasetCalls.add)
    list = blocking_iterator(DatasetCalls.list)
    update = blocking(DatasetCalls.update)
    get = blocking(DatasetCalls.get)
    health = blocking(DatasetCalls.health)
    delete = blocking(DatasetCalls.delete)
    images = blocking_iterator(DatasetCalls.images)
    image = blocking(DatasetCalls.image)
