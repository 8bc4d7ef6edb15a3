"""Taking in an uploaded zip: looked at, hashed, stored once."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath, PureWindowsPath
from typing import IO

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.datasets import repository
from app.datasets.tables import Dataset
from app.kit.context import Context
from app.kit.errors import ProblemItem, Unprocessable
from app.kit.ids import new_id
from app.kit.text import cleaned


@dataclass(frozen=True)
class Upload:
    """A file as it came in, on disk already."""

    file: IO[bytes]
    filename: str
    sha256: str
    size_bytes: int


def receive(file: IO[bytes], filename: str | None) -> Upload:
    """Hash an upload; Unprocessable (`not_a_zip`) if it cannot be a zip at all.

    What is inside is a stranger's; only a worker looks at it.
    """
    name = cleaned(PurePath(PureWindowsPath(filename or "").name).name)[-255:] or "dataset.zip"
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    size = file.tell()
    if size == 0:
        raise _not_a_zip(f"{name} is empty (0 bytes).")
    if not zipfile.is_zipfile(file):
        raise _not_a_zip(
            f"{name} is not a zip file, or it was cut off on the way. Send a zip with one folder "
            "of images per class."
        )
    return Upload(file, name, sha256, size)


def store(context: Context, upload: Upload) -> str:
    """Id of the data set with these bytes, which is stored if it is new."""
    with context.database.read() as session:
        known = repository.by_sha256(session, upload.sha256)
    if known is not None:
        return known.id
    dataset = Dataset(
        id=new_id("ds"),
        sha256=upload.sha256,
        size_bytes=upload.size_bytes,
        filename=upload.filename,
        created_at=datetime.now(UTC),
    )
    upload.file.seek(0)
    context.storage.put(dataset.storage_key, upload.file)
    try:
        with context.database.write() as session:
            session.add(dataset)
    except IntegrityError:  # the same bytes came in by another request just now
        context.storage.delete(dataset.storage_key)
        with context.database.read() as session:
            twin = repository.by_sha256(session, upload.sha256)
        if twin is None:
            raise
        return twin.id
    return dataset.id


def remove_if_unused(session: Session, dataset: Dataset) -> str | None:
    """Delete the row if no job refers to it; returns the storage key to delete after commit."""
    try:
        with session.begin_nested():
            gone = repository.remove_unused(session, dataset.id)
    except IntegrityError:  # a job that refers to it was added at this moment
        return None
    return dataset.storage_key if gone else None


def _not_a_zip(detail: str) -> Unprocessable:
    item = ProblemItem(param="dataset", code="not_a_zip", message=detail)
    return Unprocessable(detail, code="not_a_zip", errors=[item])
