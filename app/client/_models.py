"""The calls about tuned classifiers."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import httpx

from app.client._blocking import blocking, blocking_iterator
from app.client._calls import Call, Page, as_a, delete, get, nothing, path
from app.client._connection import Connection
from app.client._exceptions import UnexpectedAnswer
from app.models.schemas import ModelView
from app.releases.schemas import ComparisonView
from dspt.report.card.schema import ModelCard

_AT_ONCE = 50


class ModelCalls:
    """`client.models`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list(self) -> AsyncIterator[ModelView]:
        """Tuned classifiers, newest first. Pages are fetched as they are needed."""
        params: dict[str, str | int] = {"limit": _AT_ONCE}
        while True:
            page = await self._connection.call(get("/models", as_a(Page[ModelView]), params=params))
            for model in page.data:
                yield model
            if page.next is None:
                return
            params["after"] = page.next

    async def get(self, model_id: str) -> ModelView:
        """One tuned classifier."""
        return await self._connection.call(get(path("models", model_id), as_a(ModelView)))

    async def card(self, model_id: str) -> ModelCard:
        """What a classifier is made of, how good it is, and what that does not say.

        `dspt.report.card.to_markdown` makes it a text.
        """
        return await self._connection.call(get(path("models", model_id, "card"), as_a(ModelCard)))

    async def delete(self, model_id: str) -> None:
        """Delete a classifier and its file; the job that made it stays."""
        await self._connection.call(delete(path("models", model_id)))

    async def download(self, model_id: str, to: str | Path) -> Path:
        """Write a classifier's file to `to`, or into the folder `to`; returns where it is.

        It is there whole or not at all, and what has come is what the service sent: its digest is
        checked. Raises OSError.
        """
        target = Path(to)
        if target.is_dir():
            target = target / f"{model_id}.safetensors"
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        io, digest = self._connection.io, hashlib.sha256()
        call = get(path("models", model_id, "artifact"), nothing)
        try:
            async with self._connection.opened(call) as response:
                with part.open("xb") as file:
                    async for chunk in io.chunks(response):
                        digest.update(chunk)
                        file.write(chunk)
            expected = response.headers.get("ETag", "").strip('"')
            if expected and digest.hexdigest() != expected:
                raise UnexpectedAnswer(f"the file of {model_id} was damaged on its way; try again")
            part.replace(target)
        except httpx.RequestError as error:
            raise self._connection.unreachable(error) from error
        finally:
            part.unlink(missing_ok=True)
        return target

    async def upload(self, artifact: str | Path, *, name: str | None = None) -> ModelView:
        """Hand in a classifier that was tuned elsewhere. Raises OSError."""
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
        """A new classifier that knows further classes by their names, without a photo of them.

        classes: a name, some, or each with its words in the prompt. The old classifier stays; how
        well the new one does has to be measured (`compare`).
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
        """Hold two classifiers (ids or aliases) against the same photos, class by class.

        dataset_id: whose photos; left out, those that both were tuned on. all: all of them, not the
        test part alone, where neither was tuned on any.
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
