"""The two clients."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from dspt_client._aliases import AliasCalls, Aliases
from dspt_client._batches import BatchCalls, Batches
from dspt_client._blocking import run
from dspt_client._calls import Call, as_a
from dspt_client._comparisons import ComparisonCalls, Comparisons
from dspt_client._connection import Connection
from dspt_client._datasets import DatasetCalls, Datasets
from dspt_client._feedback import Feedback, FeedbackCalls
from dspt_client._io import AsyncIo, BlockingIo, Io
from dspt_client._job import AsyncJob
from dspt_client._jobs import JobCalls, Jobs
from dspt_client._models import ModelCalls, Models
from dspt_client._packing import OnProgress, silent
from dspt_client._predict import Image, Question, predict
from dspt_client._retries import Retries
from dspt_client._webhooks import WebhookCalls, Webhooks
from dspt_client.schemas.predictions import PredictResponse
from dspt_client.schemas.tokens import TokenView

DEFAULT_URL = "http://127.0.0.1:8000"


class AsyncClient:
    """The same client as coroutines: `async with AsyncClient() as client`. See Client."""

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
        self.datasets = DatasetCalls(connection)
        self.batches = BatchCalls(connection)
        self.comparisons = ComparisonCalls(connection)
        self.models = ModelCalls(connection)
        self.feedback = FeedbackCalls(connection)
        self.aliases = AliasCalls(connection)
        self.webhooks = WebhookCalls(connection)

    async def predict(
        self,
        model: str,
        images: Image | Iterable[Image],
        *,
        top_k: int = 5,
        zero_shot: bool = False,
        reject_below: float | None = None,
        capture: bool = False,
        on_progress: OnProgress = silent,
    ) -> PredictResponse:
        """Classify images: paths, bytes or open files, any number of them, in their order.

        model: an id or an alias. Many images are sent in several requests; one model answers all of
        them. zero_shot: also return the prediction of CLIP without tuning. reject_below: return no
        label if the most probable class is less probable. capture: let the service keep the photos
        and answers, for `client.feedback`. on_progress is called with `classifying`, the number of
        images done, and the total (0 if `images` has no length). Raises OSError.
        """
        question = Question(model, top_k, zero_shot, reject_below, capture)
        return await predict(self._connection, question, images, on_progress)

    async def token(self, path: str) -> TokenView:
        """Return a token for `GET path`, valid for 5 minutes, and the URL with it.

        For a browser that cannot send the API key: `EventSource`, `<img>`.
        """
        return await self._connection.call(_token(path))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connection.io.shut()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Client:
    """A client of the service: `with Client() as client`.

    url, api_key: default to DSPT_URL and DSPT_API_KEY (or the content of the file
    DSPT_API_KEY_FILE), then to http://127.0.0.1:8000 and no key.
    timeout: seconds to wait for an answer. retries: how often a request is repeated, with growing
    pauses, if the connection broke or the service was busy and repeating is safe.
    Raises ValueError for an invalid URL or key; the calls raise the exceptions listed below.
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
        self.datasets = Datasets(connection)
        self.batches = Batches(connection)
        self.comparisons = Comparisons(connection)
        self.models = Models(connection)
        self.feedback = Feedback(connection)
        self.aliases = Aliases(connection)
        self.webhooks = Webhooks(connection)

    def predict(
        self,
        model: str,
        images: Image | Iterable[Image],
        *,
        top_k: int = 5,
        zero_shot: bool = False,
        reject_below: float | None = None,
        capture: bool = False,
        on_progress: OnProgress = silent,
    ) -> PredictResponse:
        """Classify images: paths, bytes or open files, any number of them, in their order.

        model: an id or an alias. Many images are sent in several requests; one model answers all of
        them. zero_shot: also return the prediction of CLIP without tuning. reject_below: return no
        label if the most probable class is less probable. capture: let the service keep the photos
        and answers, for `client.feedback`. on_progress is called with `classifying`, the number of
        images done, and the total (0 if `images` has no length). Raises OSError.
        """
        question = Question(model, top_k, zero_shot, reject_below, capture)
        return run(predict(self._connection, question, images, on_progress))

    def token(self, path: str) -> TokenView:
        """Return a token for `GET path`, valid for 5 minutes, and the URL with it.

        For a browser that cannot send the API key: `EventSource`, `<img>`.
        """
        return run(self._connection.call(_token(path)))

    def close(self) -> None:
        """Close the connections."""
        run(self._connection.io.shut())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def http_options(url: str | None, api_key: str | None, timeout: float) -> dict[str, Any]:
    """Return the options of both httpx clients. Raises ValueError."""
    address = url or os.environ.get("DSPT_URL") or DEFAULT_URL
    key = (api_key or os.environ.get("DSPT_API_KEY") or _key_from_file()).strip()
    try:
        base = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise ValueError(f"{address!r} is not a URL: {error}") from error
    if base.scheme not in ("http", "https") or not base.host:
        raise ValueError(
            f"{address!r} is not a URL; did you mean http://{address.rpartition('://')[2]}?"
        )
    if not (key.isascii() and key.isprintable()):
        raise ValueError(
            "the API key (DSPT_API_KEY) contains characters that are not allowed in a key"
        )
    headers = {"User-Agent": f"dspt-client/{version('dspt-client')}", "Accept": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return {"base_url": base, "headers": headers, "timeout": httpx.Timeout(timeout, connect=10.0)}


def _token(path: str) -> Call[TokenView]:
    options = {"json": {"path": path}}
    return Call("POST", "/tokens", as_a(TokenView), repeatable=True, options=options)


def _key_from_file() -> str:
    """Return the content of the file DSPT_API_KEY_FILE, or "". Raises ValueError."""
    path = os.environ.get("DSPT_API_KEY_FILE")
    try:
        return Path(path).read_text() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ValueError(f"DSPT_API_KEY_FILE: cannot read {path}: {reason}") from error


def _connection(io: Io, options: dict[str, Any], retries: int) -> Connection:
    return Connection(io, str(options["base_url"]), Retries(most=retries))
