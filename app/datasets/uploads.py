"""Receive a zip in parts, so that a cut connection costs one part at most."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import IO

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.datasets import repository
from app.datasets import service as datasets
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.http.errors import (
    BadRequest,
    Conflict,
    NotFound,
    PayloadTooLarge,
    TooManyRequests,
    Unprocessable,
)
from app.kit.ids import is_id, new_id, owner_digest
from app.quotas import service as quotas
from app.tables.uploads import Upload, UploadPart

#: Small enough that a cut costs seconds and a page can hold several, large enough that 4 GiB are
#: 512 requests.
PART_BYTES = 8 * 1024**2
#: Of an upload that an earlier version started.
LARGEST_PART_BYTES = 16 * 1024**2
#: An upload without a new part for this long is deleted.
KEEP = timedelta(hours=24)
_MOST_OPEN = 20
_COPY_BYTES = 1024**2


def start(
    context: Context, caller: Caller, filename: str, size_bytes: int, sha256: str | None
) -> Upload | str:
    """Return the new upload, or the open one of the same file; or the id of the data set.

    sha256: of the whole file; without it neither is found. Raises PayloadTooLarge, and
    TooManyRequests for the quota of bytes or too many open uploads.
    """
    limit = context.settings.max_upload_bytes
    if size_bytes > limit:
        raise PayloadTooLarge(
            f"The file has {size_bytes:,} bytes; at most {limit:,} are allowed "
            "(DSPT_MAX_UPLOAD_BYTES)."
        )
    identity = owner_digest(caller.owner, sha256) if sha256 else None
    with context.database.write() as session:
        if identity is not None:
            known = repository.by_identity(session, identity)
            if known is not None and known.expired_at is None:
                repository.set_kept(session, known.id, True)
                return known.id
            found = session.scalar(select(Upload).where(Upload.identity == identity).limit(1))
            if found is not None and found.size_bytes == size_bytes:
                return found
        now = database_now(session)
        upload = Upload(
            id=new_id("upl"),
            owner=caller.owner,
            identity=identity,
            sha256=sha256,
            filename=datasets.clean_filename(filename),
            size_bytes=size_bytes,
            part_bytes=PART_BYTES,
            reserved_bytes=size_bytes,
            created_at=now,
            touched_at=now,
        )
        session.add(upload)
        quotas.check_bytes(session, context.settings, caller.owner)
        opened = select(func.count()).where(Upload.owner == caller.owner)
        if (session.scalar(opened) or 0) > _MOST_OPEN:
            raise TooManyRequests(
                f"You have {_MOST_OPEN} open uploads, the maximum. Complete or delete one.",
                code="quota_uploads",
                headers={"Retry-After": "60"},
            )
    return upload


def find(session: Session, caller: Caller, upload_id: str) -> Upload:
    """Return an open upload. Raises NotFound, also if it belongs to another owner."""
    upload = session.get(Upload, upload_id) if is_id(upload_id) else None
    if upload is None or not caller.sees(upload.owner):
        message = (
            f"There is no upload {upload_id!r}: it is complete, was deleted, or has expired "
            f"{KEEP.total_seconds() / 3600:g} hours after its last part."
        )
        raise NotFound(message, code="upload_not_found")
    return upload


def missing(session: Session, upload: Upload) -> list[int]:
    """Return the numbers of the parts that have not arrived."""
    arrived = set(
        session.scalars(select(UploadPart.number).where(UploadPart.upload_id == upload.id))
    )
    return [number for number in range(1, upload.parts + 1) if number not in arrived]


def store(context: Context, caller: Caller, upload_id: str) -> str:
    """Store the whole file as a data set, delete the upload, and return the data set's id.

    Raises NotFound, Conflict if parts are missing, BadRequest if the file does not have the
    declared SHA-256, Unprocessable if it is no zip, and TooManyRequests for the quota.
    """
    with context.database.read() as session:
        upload = find(session, caller, upload_id)
        lacking = missing(session, upload)
    if lacking:
        raise _incomplete(lacking)
    try:
        with _joined(context, upload) as file:
            received = datasets.receive(file, upload.filename)
            if upload.sha256 not in (None, received.sha256):
                raise BadRequest(
                    f"The parts together have SHA-256 {received.sha256}, not {upload.sha256}: the "
                    "file changed while it was sent. Upload it again.",
                    code="damaged_upload",
                )
            # From now on the data set counts against the quota.
            with context.database.write() as session:
                whole = update(Upload).where(Upload.id == upload.id)
                session.execute(whole.values(reserved_bytes=0))
            dataset_id = datasets.store(context, received, upload.owner, kept=True)
    except (BadRequest, Unprocessable):
        remove(context, caller, upload_id)
        raise
    with suppress(NotFound):  # a concurrent request stored the same file
        remove(context, caller, upload_id)
    return dataset_id


def remove(context: Context, caller: Caller, upload_id: str) -> None:
    """Delete an upload and its parts. Raises NotFound."""
    with context.database.write() as session:
        keys = _delete(session, find(session, caller, upload_id))
    for key in keys:
        context.storage.delete(key)


def expire(context: Context, *, dry_run: bool) -> Iterator[tuple[str, int]]:
    """Delete the uploads that have expired; yield the id and the number of parts of each."""
    with context.database.read() as session:
        before = database_now(session) - KEEP
        found = session.scalars(select(Upload).where(Upload.touched_at < before)).all()
        arrived = {each.id: each.parts - len(missing(session, each)) for each in found}
    for upload in found:
        if not dry_run:
            with context.database.write() as session:
                keys = _delete(session, upload)
            for key in keys:
                context.storage.delete(key)
        yield upload.id, arrived[upload.id]


def _delete(session: Session, upload: Upload) -> list[str]:
    """Delete the rows; return the storage keys to delete after the commit."""
    parts = session.scalars(select(UploadPart).where(UploadPart.upload_id == upload.id)).all()
    session.execute(delete(UploadPart).where(UploadPart.upload_id == upload.id))
    session.execute(delete(Upload).where(Upload.id == upload.id))
    return [part.storage_key for part in parts]


@contextmanager
def _joined(context: Context, upload: Upload) -> Iterator[IO[bytes]]:
    """Yield the whole file. Raises Conflict if the storage has lost parts."""
    with tempfile.TemporaryFile(prefix="dspt-") as file:
        for number in range(1, upload.parts + 1):
            part = UploadPart(upload_id=upload.id, number=number)
            try:
                with context.storage.open(part.storage_key) as source:
                    shutil.copyfileobj(source, file, _COPY_BYTES)
            except FileNotFoundError as error:  # such as after a restore: backups have no parts
                with context.database.write() as session:
                    session.execute(delete(UploadPart).where(UploadPart.upload_id == upload.id))
                raise _incomplete(list(range(1, upload.parts + 1))) from error
        yield file


def _incomplete(lacking: list[int]) -> Conflict:
    shown = ", ".join(map(str, lacking[:10])) + (", ..." if len(lacking) > 10 else "")
    return Conflict(
        f"{len(lacking):,} parts have not arrived: {shown}. Send them, then complete the upload.",
        code="upload_incomplete",
    )


def expires_at(upload: Upload) -> datetime:
    """Return when the upload is deleted unless a part arrives."""
    return upload.touched_at.astimezone(UTC) + KEEP
