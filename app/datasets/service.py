"""Receive, hash and store data sets: uploaded, corrected, or photos added; each is stored once."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath, PureWindowsPath
from typing import IO

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.datasets import repository
from app.datasets.features import delete_features
from app.kit.context import Context
from app.kit.control_characters import cleaned
from app.kit.http.errors import Conflict, NotFound, TooManyRequests, Unprocessable
from app.kit.ids import new_id, owner_digest
from app.quotas import service as quotas
from app.tables.datasets import Dataset
from dspt.labels.corrections import Corrections


@dataclass(frozen=True)
class Upload:
    """An uploaded file on disk, corrections of an earlier one, or photos added to one."""

    file: IO[bytes]
    filename: str
    sha256: str
    size_bytes: int
    parent_id: str | None = None
    base_id: str | None = None
    root_id: str | None = None
    relabelled: int | None = None
    dropped: int | None = None
    confirmed: int | None = None


def receive(file: IO[bytes], filename: str | None) -> Upload:
    """Hash an upload. Raises Unprocessable (`not_a_zip`) if it cannot be a zip."""
    name = clean_filename(filename)
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    size = file.seek(0, io.SEEK_END)  # hashing leaves a BytesIO where it was
    if size == 0:
        raise _not_a_zip(f"{name} is empty (0 bytes).")
    if not _may_be_a_zip(file):
        raise _not_a_zip(
            f"{name} is not a zip file, or the upload was truncated. Send a zip with one folder of "
            "images per class."
        )
    return Upload(file, name, sha256, size)


def clean_filename(filename: str | None, default: str = "dataset.zip") -> str:
    """Return the last part of a path of any system, at most 255 characters."""
    return cleaned(PurePath(PureWindowsPath(filename or "").name).name)[-255:] or default


def _may_be_a_zip(file: IO[bytes]) -> bool:
    try:
        return zipfile.is_zipfile(file)
    except zipfile.BadZipFile:  # it claims several parts
        return False


def corrected(zip_file: Dataset, corrections: Corrections) -> Upload:
    """Return the data set to store for a zip with these corrections."""
    document = {"zip_sha256": zip_file.sha256, **corrections.to_dict()}
    if zip_file.base_id is not None:  # the same photos may have been added to several data sets
        document["zip_id"] = zip_file.id
    data = json.dumps(document, sort_keys=True).encode()
    return Upload(
        file=io.BytesIO(data),
        filename=zip_file.filename,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        parent_id=zip_file.id,
        root_id=zip_file.family_id,
        relabelled=len(corrections.relabel),
        dropped=len(corrections.drop),
        confirmed=len(corrections.keep),
    )


def corrections_of(context: Context, dataset: Dataset) -> Corrections:
    """Return all corrections since the upload; empty if there are none."""
    with context.database.read() as session:
        corrected = repository.corrections_of(session, dataset)
    if corrected is None:
        return Corrections()
    return Corrections.from_dict(json.loads(context.storage.read_bytes(corrected.storage_key)))


@contextmanager
def local_copies(context: Context, zips: Iterable[Dataset]) -> Iterator[list[Path]]:
    """Yield local copies of the zips of a data set, in order. Raises FileNotFoundError."""
    with ExitStack() as stack:
        yield [stack.enter_context(context.storage.local_copy(each.storage_key)) for each in zips]


def find(session: Session, caller: Caller, dataset_id: str) -> Dataset:
    """Return the data set. Raises NotFound, also if it belongs to another owner."""
    dataset = repository.get(session, dataset_id)
    if dataset is None or not caller.sees(dataset.owner):
        raise NotFound(
            f"There is no data set {dataset_id!r}.", code="dataset_not_found", param="dataset_id"
        )
    return dataset


def find_with_zip(context: Context, caller: Caller, dataset_id: str) -> tuple[Dataset, Dataset]:
    """Return the newest zip of a data set, and the data set. Raises NotFound."""
    with context.database.read() as session:
        dataset = find(session, caller, dataset_id)
        return repository.zip_of(session, dataset), dataset


def photos_of(context: Context, caller: Caller, dataset_id: str) -> tuple[Dataset, Dataset]:
    """As `find_with_zip`. Raises Conflict if retention deleted the photos."""
    zip_file, dataset = find_with_zip(context, caller, dataset_id)
    if zip_file.expired_at is not None:
        raise _expired()
    return zip_file, dataset


def store(context: Context, upload: Upload, owner: str, *, kept: bool = False) -> str:
    """Store the upload unless the owner has the same bytes already; return the data set's id.

    kept: also when no job uses it.

    Raises TooManyRequests if the owner's quota is exceeded, NotFound if the data set that it is
    made from was deleted in the meantime, and Conflict if that has expired.
    """
    content = upload.sha256 if upload.base_id is None else f"{upload.base_id}/{upload.sha256}"
    identity = owner_digest(owner, content)
    with context.database.read() as session:
        known = repository.by_identity(session, identity)
    if known is not None and (known.kept or not kept or _keep(context, known.id)):
        return known.id
    dataset = Dataset(
        id=new_id("ds"),
        owner=owner,
        identity=identity,
        sha256=upload.sha256,
        size_bytes=upload.size_bytes,
        filename=upload.filename,
        created_at=datetime.now(UTC),
        parent_id=upload.parent_id,
        base_id=upload.base_id,
        root_id=upload.root_id,
        relabelled=upload.relabelled,
        dropped=upload.dropped,
        kept=kept,
        confirmed=upload.confirmed,
    )
    upload.file.seek(0)
    context.storage.put(dataset.storage_key, upload.file)
    try:
        with context.database.write() as session:
            if dataset.root_id is not None:
                _lock_family(session, dataset.root_id)
                dataset.version = repository.next_version(session, dataset.root_id)
            session.add(dataset)
            quotas.check_bytes(session, context.settings, owner)
    except (Conflict, NotFound, TooManyRequests):
        context.storage.delete(dataset.storage_key)
        raise
    except IntegrityError as error:  # a concurrent request stored the same bytes
        context.storage.delete(dataset.storage_key)
        with context.database.read() as session:
            twin = repository.by_identity(session, identity)
        if twin is None and upload.root_id is not None:
            raise _deleted() from error
        if twin is None or (kept and not _keep(context, twin.id)):
            raise
        return twin.id
    return dataset.id


def _lock_family(session: Session, root_id: str) -> None:
    """Lock a family against deletion and expiry. Raises NotFound, Conflict if it has expired."""
    repository.lock(session, root_id)
    root = session.get(Dataset, root_id, populate_existing=True)
    if root is None:
        raise _deleted()
    if root.expired_at is not None:
        raise _expired()


def _keep(context: Context, dataset_id: str) -> bool:
    """Keep the data set also when no job uses it; return whether it still exists."""
    with context.database.write() as session:
        return repository.set_kept(session, dataset_id, True)


def set_metadata(
    context: Context, caller: Caller, dataset_id: str, metadata: dict[str, str]
) -> Dataset:
    """Replace the metadata of a data set, and return it. Raises NotFound."""
    with context.database.write() as session:
        dataset = find(session, caller, dataset_id)
        dataset.user_metadata = metadata
    return dataset


def delete(context: Context, caller: Caller, dataset_id: str) -> None:
    """Delete a data set and its file. Raises NotFound, and Conflict if a job uses it."""
    with context.database.write() as session:
        dataset = find(session, caller, dataset_id)
        repository.set_kept(session, dataset_id, False)
        removed = remove_if_unused(session, dataset)
        if not removed:
            raise Conflict(
                "Jobs use this data set or corrections of it, or photos were added to it. Delete "
                "those jobs first, and the later versions.",
                code="dataset_in_use",
            )
    delete_files(context, removed)


def delete_files(context: Context, keys: Iterable[str]) -> None:
    """Delete the files of deleted data sets, and their encoded photos."""
    for key in keys:
        context.storage.delete(key)
        delete_features(context.storage, Path(key).stem)


def keep_for_a_job(session: Session, dataset: Dataset) -> None:
    """Lock the photos against deletion while a job on them is created.

    Raises NotFound if they were deleted, Conflict if they have expired.
    """
    zip_file = repository.kept_zip_of(session, dataset)
    if zip_file is None:
        raise _deleted()
    if zip_file.expired_at is not None:
        raise _expired()


def remove_if_unused(session: Session, dataset: Dataset) -> list[str]:
    """Delete the row if nothing refers to it, and then what it was made from likewise.

    Return the storage keys to delete after the commit.
    """
    lineage = list(repository.lineage(session, dataset))
    for each in reversed(lineage):  # the lock order of a new job
        repository.lock(session, each.id)
    removed = []
    for each in lineage:
        if not repository.remove_unused(session, each.id):
            break
        removed.append(each.storage_key)
    return removed


def _deleted() -> NotFound:
    return NotFound("The data set was deleted.", code="dataset_not_found")


def _expired() -> Conflict:
    return Conflict(
        "The photos of this data set were deleted by retention. Upload them again.",
        code="dataset_expired",
    )


def _not_a_zip(detail: str) -> Unprocessable:
    return Unprocessable(detail, code="not_a_zip", param="dataset")
