"""Many images in one request: a line of JSON for each as soon as it is classified."""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from dspt_client.schemas.predictions import Prediction, StreamEnd
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.predictions.service import Answering
from dspt.errors import ImageError

MEDIA_TYPE = "application/x-ndjson"
#: Images of one stream that are read and classified together; of two such shares one is decoded
#: while the tower works at the other.
SHARE = 32
_AT_ONCE = 2


class Images(AbstractContextManager["Images"]):
    """Named images that are read when their turn comes. Close it in the end."""

    def __init__(self, names: Sequence[str], read: Callable[[int], bytes]) -> None:
        """`read` gives the one with this place among `names`; it may raise ImageError."""
        self.names = names
        self._read = read

    def read(self, places: Sequence[int]) -> list[tuple[str, bytes | ImageError]]:
        """Those with these places, or why one cannot be had."""
        return [(self.names[place], self._one(place)) for place in places]

    def _one(self, place: int) -> bytes | ImageError:
        try:
            return self._read(place)
        except ImageError as error:
            return error

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""


class ZippedImages(Images):
    """The files of a zip, which is read as a stranger's."""

    def __init__(self, upload: IO[bytes], most: int) -> None:
        """Raises DatasetError with all that is wrong with the zip, such as over `most` files."""
        from dspt.data.findings import Findings
        from dspt.data.hostile.archive import open_zip
        from dspt.data.hostile.limits import Limits

        # A copy with a path: the upload's own file is gone before the answer is.
        with NamedTemporaryFile(suffix=".zip") as file:
            shutil.copyfileobj(upload, file)
            file.flush()
            self._source = open_zip(Path(file.name), Limits(max_files=most), Findings())
        files = self._source.files
        super().__init__(files, lambda place: self._source.read(files[place]))

    def __exit__(self, *_: object) -> None:
        self._source.close()


class PredictionStream(StreamingResponse):
    """Who answers, then an image a line in their order, then how many there were.

    ServiceUnavailable in its place where too many images are waiting already.
    """

    def __init__(self, images: Images, answering: Answering) -> None:
        super().__init__(self._lines(), media_type=MEDIA_TYPE)
        self._images = images
        self._answering = answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._images, self._answering.inference.room(SHARE * _AT_ONCE):
            await super().__call__(scope, receive, send)

    async def _lines(self) -> AsyncIterator[bytes]:
        count, unreadable = len(self._images.names), 0
        yield _line(self._answering.answered(count))
        async for predictions in self._predictions(count):
            unreadable += sum(each.error is not None for each in predictions)
            yield b"".join(map(_line, predictions))
        yield _line(StreamEnd(classified=count - unreadable, unreadable=unreadable))

    async def _predictions(self, count: int) -> AsyncIterator[list[Prediction]]:
        working: deque[asyncio.Task[list[Prediction]]] = deque()
        try:
            for start in range(0, count, SHARE):
                share = range(start, min(start + SHARE, count))
                working.append(asyncio.create_task(self._share(share)))
                if len(working) == _AT_ONCE:
                    yield await working.popleft()
            while working:
                yield await working.popleft()
        finally:  # also when the client goes away
            for task in working:
                task.cancel()

    async def _share(self, places: Sequence[int]) -> list[Prediction]:
        return await self._answering.answer(await run_in_threadpool(self._images.read, places))


def _line(what: BaseModel) -> bytes:
    return what.model_dump_json(exclude_none=True).encode() + b"\n"
