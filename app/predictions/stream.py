"""Stream the predictions of many images as JSON lines."""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from dspt_client.schemas.predictions import ImageProblem, Prediction, StreamEnd, StreamStopped
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.kit.http.stopping import RETRY_SECONDS
from app.predictions.service import Answering
from dspt.errors import ImageError

MEDIA_TYPE = "application/x-ndjson"
#: Images per chunk of a stream. Two chunks are in progress: one is decoded while the image tower
#: runs the other.
CHUNK = 32
_CHUNKS = 2


class Images(AbstractContextManager["Images"]):
    """Named images that are read on demand. A context manager."""

    def __init__(self, names: Sequence[str], read: Callable[[int], bytes]) -> None:
        """`read` returns the image at an index of `names`; it may raise ImageError."""
        self.names = names
        self._read = read

    def read(self, indices: Sequence[int]) -> list[tuple[str, bytes | ImageError]]:
        """Return name and bytes, or ImageError, of the images at these indices."""
        return [(self.names[index], self._one(index)) for index in indices]

    def _one(self, index: int) -> bytes | ImageError:
        try:
            return self._read(index)
        except ImageError as error:
            return error

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


class ZippedImages(Images):
    """The files of an untrusted zip."""

    def __init__(self, upload: IO[bytes], most: int) -> None:
        """Raises DatasetError with all problems of the zip, such as more than `most` files."""
        from dspt.data.findings import Findings
        from dspt.data.hostile.archive import open_zip
        from dspt.data.hostile.limits import Limits

        # A copy: the upload's own file is closed before the stream ends.
        with NamedTemporaryFile(suffix=".zip") as file:
            shutil.copyfileobj(upload, file)
            file.flush()
            self._source = open_zip(Path(file.name), Limits(max_files=most), Findings())
        files = self._source.files
        super().__init__(files, lambda index: self._source.read(files[index]))

    def __exit__(self, *_: object) -> None:
        self._source.close()


class PredictionStream(StreamingResponse):
    """Stream the model, then one prediction per line in order, then the totals.

    Responds ServiceUnavailable or TooManyRequests if too many images are waiting already.
    """

    def __init__(
        self,
        images: Images,
        answering: Answering,
        admit: Callable[[int], Awaitable[None]],
        stop: asyncio.Event,
    ) -> None:
        """`admit` is awaited before each chunk, with its number of images.

        Once `stop` is set, the stream ends with a line that says so.
        """
        super().__init__(self._lines(), media_type=MEDIA_TYPE)
        self._stop = stop
        self._images = images
        self._answering = answering
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._images, self._answering.room(CHUNK * _CHUNKS):
            await super().__call__(scope, receive, send)

    async def _lines(self) -> AsyncIterator[bytes]:
        count, answered, unreadable = len(self._images.names), 0, 0
        yield _line(self._answering.answered(count))
        async for predictions in self._predictions(count):
            answered += len(predictions)
            unreadable += sum(each.error is not None for each in predictions)
            yield b"".join(map(_line, predictions))
        if answered < count:
            yield _line(_stopped(answered))
        else:
            yield _line(StreamEnd(classified=count - unreadable, unreadable=unreadable))

    async def _predictions(self, count: int) -> AsyncIterator[list[Prediction]]:
        """Yield the predictions of each chunk, until the server stops."""
        starts = iter(range(0, count, CHUNK))
        working: deque[asyncio.Task[list[Prediction]]] = deque()
        stopping = asyncio.create_task(self._stop.wait())
        try:
            while True:
                for start in islice(starts, _CHUNKS - len(working)):
                    chunk = range(start, min(start + CHUNK, count))
                    working.append(asyncio.create_task(self._classify(chunk)))
                if not working:
                    return
                await asyncio.wait((working[0], stopping), return_when=asyncio.FIRST_COMPLETED)
                if not working[0].done():
                    return
                yield await working.popleft()
        finally:  # also when the client disconnects
            for task in (*working, stopping):
                task.cancel()

    async def _classify(self, indices: Sequence[int]) -> list[Prediction]:
        await self._admit(len(indices))
        return await self._answering.answer(await run_in_threadpool(self._images.read, indices))


def _stopped(answered: int) -> StreamStopped:
    message = f"The server is stopping. Send the images after the first {answered} again."
    return StreamStopped(
        answered=answered,
        retry_after=RETRY_SECONDS,
        error=ImageProblem(code="stopping", message=message),
    )


def _line(what: BaseModel) -> bytes:
    return what.model_dump_json(exclude_none=True).encode() + b"\n"
