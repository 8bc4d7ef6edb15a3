"""Send a large zip in parts, so that a cut connection costs one part at most."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import partial
from typing import IO

from dspt_client._calls import NO_SUCH_CALL, Call, as_a, nothing, path
from dspt_client._connection import Connection
from dspt_client._exceptions import Refused
from dspt_client._packing import OnProgress
from dspt_client.schemas.datasets import DatasetDetail
from dspt_client.schemas.uploads import PartUrl, UploadView

#: Files up to this size are sent in one request.
LARGE_BYTES = 64 * 1024**2
_READ_BYTES = 1024**2


async def send_in_parts(
    connection: Connection, filename: str, file: IO[bytes], on_progress: OnProgress
) -> DatasetDetail | None:
    """Upload a large file in parts and return the data set; None if it has to be sent whole.

    That is a small file, or any file if the service is too old.

    If the same file was interrupted before, only what is missing is sent. `on_progress` is called
    with the progress of `checking` and `sending`, in bytes.
    """
    work = connection.io.work
    size = await work(lambda: file.seek(0, 2))
    if size <= LARGE_BYTES:
        return None
    sha256 = await work(lambda: _sha256(file, lambda done: on_progress("checking", done, size)))
    wanted = {"filename": filename, "size_bytes": size, "sha256": sha256}
    start = Call("POST", "/uploads", as_a(UploadView), repeatable=True, options={"json": wanted})
    try:
        upload = await connection.call(start)
    except Refused as error:
        if error.code in NO_SUCH_CALL:
            return None
        raise
    if upload.id is None:
        where = path("datasets", upload.dataset_id or "")
        return await connection.call(Call("GET", where, as_a(DatasetDetail), repeatable=True))
    missing, part_bytes = set(upload.missing), upload.part_bytes
    directly = "part_url" in upload.links
    for number in range(1, upload.parts + 1):
        if number in missing:
            part = await work(partial(_read, file, (number - 1) * part_bytes, part_bytes))
            directly = directly and await _send_directly(connection, upload.id, number, part)
            if not directly:
                await connection.call(_put(upload.id, number, part))
        on_progress("sending", min(number * part_bytes, size), size)
    made = Call(
        "POST",
        "/datasets",
        as_a(DatasetDetail),
        repeatable=False,
        options={"data": {"upload_id": upload.id}},
    )
    return await connection.call(made)


async def _send_directly(connection: Connection, upload_id: str, number: int, part: bytes) -> bool:
    """Send a part to the bucket itself; return False if that cannot be reached from here."""
    where = path("uploads", upload_id, "parts", str(number))
    target = await connection.call(Call("POST", f"{where}/url", as_a(PartUrl), repeatable=True))
    if not await connection.put_elsewhere(target.url, part):
        return False
    options = {"headers": {"Content-Digest": _digest(part)}}
    await connection.call(
        Call("POST", f"{where}/stored", nothing, repeatable=True, options=options)
    )
    return True


def _put(upload_id: str, number: int, part: bytes) -> Call[None]:
    headers = {"Content-Digest": _digest(part), "Content-Type": "application/octet-stream"}
    where = path("uploads", upload_id, "parts", str(number))
    return Call("PUT", where, nothing, True, options={"content": part, "headers": headers})


def _digest(part: bytes) -> str:
    """Return the header Content-Digest (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(part).digest()).decode()}:"


def _read(file: IO[bytes], start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)


def _sha256(file: IO[bytes], on_progress: Callable[[int], None]) -> str:
    """Return the SHA-256 (hex) of the whole file."""
    file.seek(0)
    digest = hashlib.sha256()
    while data := file.read(_READ_BYTES):
        digest.update(data)
        on_progress(file.tell())
    file.seek(0)
    return digest.hexdigest()
