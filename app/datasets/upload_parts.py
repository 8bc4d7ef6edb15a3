"""The parts of uploads: sent to the service, or to the bucket itself."""

from __future__ import annotations

import base64
import binascii
import hashlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from app.access.caller import Caller
from app.datasets import uploads
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.http.errors import BadRequest, Conflict, NotFound, Unprocessable, invalid_field
from app.kit.storage.ranged import RemoteFile
from app.tables.uploads import Upload, UploadPart

#: Enough for a part on a slow connection.
_URL_LIFETIME = timedelta(minutes=30)


def receive(
    context: Context, caller: Caller, upload_id: str, number: int, body: bytes, digest: str
) -> None:
    """Store one part; the same part may be sent again.

    digest: its header Content-Digest. Raises NotFound, Unprocessable for a part of the wrong size,
    and BadRequest if it was damaged on the way.
    """
    upload, part = _part(context, caller, upload_id, number)
    _check_size(upload, number, len(body))
    _check_digest(number, body, digest)
    context.storage.put_bytes(part.storage_key, body)
    _arrived(context, upload, part)


def url(context: Context, caller: Caller, upload_id: str, number: int) -> tuple[str, datetime]:
    """Return a URL in the bucket to send a part to, and when it expires.

    Raises NotFound, and Conflict if DSPT_PRESIGNED_UPLOADS is off or the files are in a folder.
    """
    _, part = _part(context, caller, upload_id, number)
    found = None
    if context.settings.presigned_uploads:
        found = context.storage.upload_url(part.storage_key, _URL_LIFETIME)
    if found is None:
        raise Conflict(
            "This service takes parts itself: send them by PUT /uploads/{id}/parts/{number}.",
            code="not_presigned",
        )
    return found, datetime.now(UTC) + _URL_LIFETIME


def take(context: Context, caller: Caller, upload_id: str, number: int, digest: str) -> None:
    """Check a part that was sent to the bucket, which is read once; as `receive` otherwise.

    Raises Conflict if it is not there. A part that is wrong is deleted.
    """
    upload, part = _part(context, caller, upload_id, number)
    try:
        file = context.storage.remote_file(part.storage_key)
        if isinstance(file, RemoteFile):  # what came may be larger than memory
            _check_size(upload, number, file.size)
        body = context.storage.read_bytes(part.storage_key)
        _check_size(upload, number, len(body))
        _check_digest(number, body, digest)
    except FileNotFoundError as error:
        raise Conflict(
            f"Part {number} is not in the bucket. Send it to its URL first.", code="part_missing"
        ) from error
    except (BadRequest, Unprocessable):
        context.storage.delete(part.storage_key)
        raise
    _arrived(context, upload, part)


def _part(
    context: Context, caller: Caller, upload_id: str, number: int
) -> tuple[Upload, UploadPart]:
    with context.database.read() as session:
        upload = uploads.find(session, caller, upload_id)
    if not 1 <= number <= upload.parts:
        raise NotFound(
            f"The upload has no part {number:,}; its parts are 1 to {upload.parts:,}.",
            code="part_not_found",
        )
    return upload, UploadPart(upload_id=upload.id, number=number)


def _check_size(upload: Upload, number: int, size: int) -> None:
    expected = upload.bytes_of(number)
    if size != expected:
        raise invalid_field(
            "body", "invalid_request", f"part {number} has {size:,} bytes; expected {expected:,}"
        )


def _check_digest(number: int, body: bytes, digest: str) -> None:
    if hashlib.sha256(body).digest() != _sha256_in(digest):
        raise BadRequest(
            f"Part {number} does not match its Content-Digest: it was damaged on the way. Send it "
            "again.",
            code="damaged_part",
        )


def _arrived(context: Context, upload: Upload, part: UploadPart) -> None:
    """Record a part that is stored."""
    with suppress(IntegrityError), context.database.write() as session:
        session.execute(
            update(Upload).where(Upload.id == upload.id).values(touched_at=database_now(session))
        )
        session.add(part)
        return
    # It had arrived before; or the upload was deleted meanwhile, and its file is garbage.
    with context.database.read() as session:
        gone = session.get(Upload, upload.id) is None
    if gone:
        context.storage.delete(part.storage_key)


def _sha256_in(header: str) -> bytes:
    """Return the SHA-256 digest in a Content-Digest header (RFC 9530). Raises Unprocessable."""
    for item in header.split(","):
        name, _, value = item.strip().partition("=")
        if name == "sha-256" and len(value) > 2 and value[0] == value[-1] == ":":
            try:
                return base64.b64decode(value[1:-1], validate=True)
            except binascii.Error as error:
                raise invalid_field(
                    "Content-Digest", "invalid_request", f"is not base64: {error}"
                ) from error
    raise invalid_field(
        "Content-Digest", "invalid_request", "must be sha-256=:DIGEST IN BASE64: (RFC 9530)"
    )
