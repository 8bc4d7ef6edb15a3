"""The two clients."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import httpx

from app.client._aliases import AliasCalls, Aliases
from app.client._blocking import run
from app.client._connection import Connection
from app.client._io import AsyncIo, BlockingIo, Io
from app.client._job import AsyncJob
from app.client._jobs import JobCalls, Jobs
from app.client._models import ModelCalls, Models
from app.client._packing import OnProgress, silent
from app.client._predict import Image, Question, predict
from app.client._retries import Retries
from app.predictions.schemas import PredictResponse

DEFAULT_URL = "http://127.0.0.1:8000"


class AsyncClient:
    """A service, to be awaited: `async with AsyncClient() as client`. See Client."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        options = http_options(url, api_key, timeout)
        io = AsyncIo(httpx.AsyncClient(transport=transport, **options))
        self._connection = connection = _connection(io, options, retries)
        self.jobs = JobCalls(connection, lambda view: AsyncJob(connection, view))
        self.models = ModelCalls(connection)
        self.aliases = AliasCalls(connection)

    async def predict(
        self,
        model: str,
        images: Image | Iterable[Image],
        *,
        top_k: int = 5,
        zero_shot: bool = False,
        reject_below: float | None = None,
        told: OnProgress = silent,
    ) -> PredictResponse:
        """Classify images: paths, bytes or open files, as many as you like, in their order.

        `model` is an id or an alias. Many images are sent in several requests; all of them are
        answered by one model. `zero_shot` has CLIP without tuning answer too; `reject_below`: no
        label where the likeliest class is less probable. `told` is called with how many are done of
        `classifying`, and how many there are; 0 where `images` does not say. Raises OSError.
        """
        question = Question(model, top_k, zero_shot, reject_below)
        return await predict(self._connection, question, images, told)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connection.io.shut()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Client:
    """A service: `with Client() as client`.

    `url` and `api_key`: left out, DSPT_URL and DSPT_API_KEY, else http://127.0.0.1:8000 and no key.
    `timeout`: seconds that an answer may take. `retries`: how often a request is sent again after
    a connection broke or the service was busy, with growing pauses, where that is safe. Raises
    ValueError where `url` or the key is none; the calls raise what `app.client._exceptions` draws.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        options = http_options(url, api_key, timeout)
        io = BlockingIo(httpx.Client(transport=transport, **options))
        self._connection = connection = _connection(io, options, retries)
        self.jobs = Jobs(connection)
        self.models = Models(connection)
        self.aliases = Aliases(connection)

    def predict(
        self,
        model: str,
        images: Image | Iterable[Image],
        *,
        top_k: int = 5,
        zero_shot: bool = False,
        reject_below: float | None = None,
        told: OnProgress = silent,
    ) -> PredictResponse:
        """Classify images: paths, bytes or open files, as many as you like, in their order.

        `model` is an id or an alias. Many images are sent in several requests; all of them are
        answered by one model. `zero_shot` has CLIP without tuning answer too; `reject_below`: no
        label where the likeliest class is less probable. `told` is called with how many are done of
        `classifying`, and how many there are; 0 where `images` does not say. Raises OSError.
        """
        question = Question(model, top_k, zero_shot, reject_below)
        return run(predict(self._connection, question, images, told))

    def close(self) -> None:
        """Close the connections."""
        run(self._connection.io.shut())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def http_options(url: str | None, api_key: str | None, timeout: float) -> dict[str, Any]:
    """What both kinds of httpx client are made with. Raises ValueError."""
    address = url or os.environ.get("DSPT_URL") or DEFAULT_URL
    key = (api_key or os.environ.get("DSPT_API_KEY") or "").strip()
    try:
        base = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise ValueError(f"{address!r} is no URL: {error}") from error
    if base.scheme not in ("http", "https") or not base.host:
        raise ValueError(f"{address!r} is no URL such as {DEFAULT_URL}")
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the API key (DSPT_API_KEY) holds characters that no key has")
    headers = {"User-Agent": f"dspt/{version('dspt')}", "Accept": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return {"base_url": base, "headers": headers, "timeout": httpx.Timeout(timeout, connect=10.0)}


def _connection(io: Io, options: dict[str, Any], retries: int) -> Connection:
    return Connection(io, str(options["base_url"]), Retries(most=retries))
