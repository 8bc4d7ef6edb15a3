"""Storage in a bucket, through obstore.

obstore hangs in a process that was forked from one that had used it, so the parent of Celery's
workers neither uses nor imports it.
"""

from __future__ import annotations

import errno
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Literal, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import ObjectStore, S3Store

from app.kit import storage_keys
from app.kit.cache import SizedCache
from app.kit.storage.base import Storage, StorageUnavailable, Stored, checked
from app.kit.storage.ranged import RemoteFile
from app.kit.time_limit import TimeLimit

T = TypeVar("T")
Progress = Callable[[], None]

#: Larger files are sent in parts of this size, a few at once. A part of an upload is one request.
PART_BYTES = 16 * 1024**2
_PARTS_AT_ONCE = 4
_CHUNK_BYTES = 1024**2
#: More time for calls that report no progress: sending a part, copying 4 GiB within the bucket.
_PART_SECONDS, _MOVE_SECONDS = 4.0, 60.0
_BYTES_PER_SECOND = 10 * 1024**2
#: A bucket that answered this recently is not asked again whether it does.
_FRESH_SECONDS = 30.0
_LISTED_AT_ONCE = 1000
#: Parts of files that stay in memory.
_BLOCKS_BYTES = 64 * 1024**2
_S3_ERROR = re.compile(r"<Code>(.*?)</Code>\s*<Message>(.*?)</Message>", re.S)
_FULL = re.compile(r"QuotaExceeded|StorageFull|507 Insufficient Storage")


class ObjectStorage(Storage):
    """Objects under a prefix of a bucket.

    All methods raise StorageUnavailable if the bucket makes no progress for `seconds`.
    """

    is_local = False

    def __init__(self, store: ObjectStore, url: str, seconds: float = 5.0) -> None:
        self.url = url
        self._store = store
        self._limit = TimeLimit("the storage", seconds)
        self._answered_at = float("-inf")
        self._blocks: SizedCache[bytes] = SizedCache(_BLOCKS_BYTES, _BLOCKS_BYTES)

    def put_bytes(self, key: str, data: bytes) -> None:
        self._put_one(checked(key), data, new=False)

    def create(self, key: str, data: bytes) -> None:
        self._put_one(checked(key), data, new=True)

    def put(self, key: str, source: IO[bytes]) -> None:
        path = checked(key)
        start = b"".join(_chunks(source, PART_BYTES + 1))
        if len(start) <= PART_BYTES:
            self._put_one(path, start, new=False)
            return

        def send(progress: Progress) -> None:
            def parts() -> Iterator[bytes]:
                yield start
                for chunk in _chunks(source):
                    progress()
                    yield chunk

            obstore.put(
                self._store,
                path,
                parts(),
                chunk_size=PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )

        self._call(send, _PART_SECONDS)

    def read_bytes(self, key: str) -> bytes:
        path = checked(key)
        return self._call(lambda progress: b"".join(self._content(path, progress)))

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        path = checked(key)
        with tempfile.TemporaryDirectory(prefix="dspt-") as folder:
            copy = Path(folder) / path.rsplit("/", 1)[-1]

            def fetch(progress: Progress) -> None:
                with copy.open("wb") as file:
                    file.writelines(self._content(path, progress))

            self._call(fetch)
            yield copy

    def remote_file(self, key: str) -> RemoteFile:
        path = checked(key)
        size = self._call(lambda _: obstore.head(self._store, path))["size"]

        def fetch(start: int, end: int) -> bytes:
            extra = min(_PART_SECONDS, (end - start) / _BYTES_PER_SECOND)
            return self._call(
                lambda _: bytes(obstore.get_range(self._store, path, start=start, end=end)), extra
            )

        return RemoteFile(path, size, fetch, self._blocks)

    def files(self, folder: str = "") -> Iterator[Stored]:
        def found(progress: Progress) -> list[Stored]:
            listed = []
            for page in obstore.list(self._store, folder or None, chunk_size=_LISTED_AT_ONCE):
                progress()
                listed += [Stored(o["path"], o["size"], o["last_modified"]) for o in page]
            return listed

        yield from self._call(found)

    def move(self, name: str, target: str) -> None:
        def move(progress: Progress) -> None:
            before = obstore.head(self._store, name)
            progress()
            obstore.copy(self._store, name, target)
            progress()
            # A bucket cannot rename: what was stored under `name` meanwhile stays there.
            if obstore.head(self._store, name)["e_tag"] == before["e_tag"]:
                obstore.delete(self._store, name)

        self._call(move, _MOVE_SECONDS)

    def upload_url(self, key: str, lifetime: timedelta) -> str | None:
        path, store = checked(key), self._store
        if not isinstance(store, S3Store):
            return None
        return self._call(lambda _: obstore.sign(store, "PUT", path, lifetime))

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._call(lambda _: obstore.delete(self._store, name))

    def probe(self) -> None:
        # Not a request for each probe of each process: the bucket's owner pays for them.
        if time.monotonic() - self._answered_at > _FRESH_SECONDS:
            with suppress(FileNotFoundError):  # GET, as HEAD does not tell a missing bucket
                self.read_bytes(storage_keys.INSTALLATION)

    def _put_one(self, path: str, data: bytes, *, new: bool) -> None:
        """Send bytes in one request."""

        mode: Literal["create", "overwrite"] = "create" if new else "overwrite"

        def send(_: Progress) -> None:
            obstore.put(self._store, path, data, mode=mode, use_multipart=False)

        self._call(send, len(data) / _BYTES_PER_SECOND)

    def _content(self, path: str, progress: Progress) -> Iterator[bytes]:
        for chunk in obstore.get(self._store, path).stream(min_chunk_size=_CHUNK_BYTES):
            progress()
            yield chunk

    def _call(self, work: Callable[[Progress], T], extra_seconds: float = 0.0) -> T:
        """Return what `work` returns. Raises OSError of the bucket, and errors of a source."""
        try:
            result = self._limit.call(work, extra_seconds)
        except (BaseError, FileNotFoundError, TimeoutError) as error:
            raised = _os_error(error)
            away = isinstance(raised, StorageUnavailable)
            self._answered_at = float("-inf") if away else time.monotonic()
            raise raised from error
        self._answered_at = time.monotonic()
        return result


def _chunks(source: IO[bytes], limit: float = float("inf")) -> Iterator[bytes]:
    """Yield the next `limit` bytes of a stream, or all."""
    while limit > 0 and (chunk := source.read(int(min(limit, _CHUNK_BYTES)))):
        limit -= len(chunk)
        yield chunk


def _os_error(error: Exception) -> OSError:
    """Return the OSError for an error of obstore, whose text has many lines."""
    text = str(error)
    known = _S3_ERROR.search(text)
    reason = ": ".join(known.groups()) if known else text.split("\n", 1)[0]
    if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in reason:
        return FileNotFoundError(errno.ENOENT, reason)
    if isinstance(error, AlreadyExistsError):
        return FileExistsError(errno.EEXIST, reason)
    if _FULL.search(text):
        return OSError(errno.ENOSPC, reason)
    return StorageUnavailable(reason)
