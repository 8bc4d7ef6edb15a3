"""The calls about tuned classifiers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from dspt_client._blocking import blocking, blocking_iterator
from dspt_client._calls import Call, as_a, delete, get, nothing, path
from dspt_client._connection import Connection
from dspt_client._exceptions import UnexpectedAnswer
from dspt_client._files import replacing
from dspt_client._pages import items, matching
from dspt_client.schemas.comparisons import ComparisonView
from dspt_client.schemas.models import ModelView


class ModelCalls:
    """`client.models`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self,
        *,
        backbone: str | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> AsyncIterator[ModelView]:
        """Iterate over tuned classifiers, newest first. Pages are fetched on demand.

        name: part of the name; metadata: pairs that all must match; times: of creation.
        """
        filters = matching(name, metadata, created_after, created_before)
        return items(self._connection, "/models", ModelView, filters | {"backbone": backbone})

    async def get(self, model_id: str) -> ModelView:
        """Return one tuned classifier."""
        return await self._connection.call(get(path("models", model_id), as_a(ModelView)))

    async def card(self, model_id: str) -> dict[str, Any]:
        """Return the model card of a classifier: training data, accuracy, settings, limits.

        The keys are those of the schema ModelCard in the reference of the HTTP API.
        """
        return await self._connection.call(get(path("models", model_id, "card"), json.loads))

    async def delete(self, model_id: str) -> None:
        """Delete a classifier and its file. The job that created it is kept."""
        await self._connection.call(delete(path("models", model_id)))

    async def download(self, model_id: str, to: str | Path) -> Path:
        """Write a classifier's file to the file or folder `to`, and return its path.

        The file is written completely or not at all; its digest is checked. Raises OSError.
        """
        target = Path(to)
        if target.is_dir():
            target = target / f"{model_id}.safetensors"
        io, digest = self._connection.io, hashlib.sha256()
        call = get(path("models", model_id, "artifact"), nothing)
        try:
            with replacing(target) as file:
                async with self._connection.opened(call) as response:
                    async for chunk in io.chunks(response):
                        digest.update(chunk)
                        file.write(chunk)
                expected = response.headers.get("ETag", "").strip('"')
                if expected and digest.hexdigest() != expected:
                    raise UnexpectedAnswer(f"the file of {model_id} was damaged; try again")
        except httpx.RequestError as error:
            raise self._connection.unreachable(error) from error
        return target

    async def upload(self, artifact: str | Path, *, name: str | None = None) -> ModelView:
        """Upload a classifier that was tuned elsewhere. Raises OSError."""
        file = Path(artifact)
        content = await self._connection.io.work(file.read_bytes)
        options = {
            "files": {"artifact": (file.name, content, "application/octet-stream")},
            "data": {} if name is None else {"name": name},
        }
        return await self._connection.call(
            Call("POST", "/models", as_a(ModelView), repeatable=False, options=options)
        )

    async def add_classes(
        self, model_id: str, classes: str | Iterable[str] | Mapping[str, str | None]
    ) -> ModelView:
        """Create a classifier with further classes, added by name without photos.

        classes: one name, several, or a mapping from names to words for the prompt. The old
        classifier is kept; measure the new one with `compare`.
        """
        names = [classes] if isinstance(classes, str) else classes
        wanted = dict(names) if isinstance(names, Mapping) else dict.fromkeys(names)
        options = {"json": {"classes": wanted}}
        where = path("models", model_id, "classes")
        return await self._connection.call(
            Call("POST", where, as_a(ModelView), repeatable=False, options=options)
        )

    async def compare(
        self, a: str, b: str, *, dataset_id: str | None = None, all: bool = False
    ) -> ComparisonView:
        """Compare two classifiers (ids or aliases) on the same photos, class by class.

        dataset_id: the data set to use. Default: the one that both were tuned on, and without a
        test part the photos that the jobs of both held out, such as a job and its correction. all:
        use all of its photos, if neither model was tuned on any of them.
        """
        options = {"json": {"a": a, "b": b, "dataset_id": dataset_id, "all": all}}
        return await self._connection.call(
            Call("POST", "/models/compare", as_a(ComparisonView), repeatable=True, options=options)
        )


class Models:
    """`client.models`."""

    def __init__(self, connection: Connection) -> None:
        self._core = ModelCalls(connection)

    list = blocking_iterator(ModelCalls.list)
    get = blocking(ModelCalls.get)
    card = blocking(ModelCalls.card)
    delete = blocking(ModelCalls.delete)
    download = blocking(ModelCalls.download)
    upload = blocking(ModelCalls.upload)
    add_classes = blocking(ModelCalls.add_classes)
    compare = blocking(ModelCalls.compare)
