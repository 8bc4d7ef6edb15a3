"""The photos of stored data sets: listed without decoding, and shown re-encoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Query

from app.datasets import repository, service
from app.kit.cache import SizedCache
from app.kit.context import Context
from app.kit.disk_cache import DiskCache, Kept
from app.kit.http.errors import NotFound, ProblemItem, Unprocessable
from app.tables.datasets import Dataset
from dspt.data.split_names import Split
from dspt.errors import DatasetError, ImageError
from dspt.kit.text import printable

if TYPE_CHECKING:
    from dspt.data.photos import Photos

Size = Annotated[
    Literal["192", "384", "1280", "original"], Query(description="Pixels of the longer side.")
]
SIZES = {"192": 192, "384": 384, "1280": 1280, "original": None}
#: What calls that return a photo declare.
JPEG: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A JPEG, encoded anew and without metadata.",
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    }
}
#: Data sets that stay open, and the memory of their lists of files. A zip counts as if it were
#: larger, so that versions with many zips do not exhaust the open files of the process.
_OPEN, _OPEN_BYTES, _BYTES_PER_FILE, _BYTES_PER_ZIP = 32, 64 * 1024**2, 1500, 256 * 1024


@dataclass(frozen=True)
class Photo:
    """A file of a data set; `number` is its place in the uploaded zip, and in those added to it."""

    number: int
    file: str
    split: Split
    label: str
    given: str


class PhotoShelf:
    """Open data sets in memory and encoded pictures on disk, the least recently used dropped first.

    Thread-safe. A data set never changes, so nothing here goes out of date.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._open: SizedCache[Photos] = SizedCache(_OPEN, _OPEN_BYTES)
        self._pictures = pictures_of(context)

    def open(self, zip_file: Dataset) -> Photos:
        """Open a zip and those that it was added to.

        Raises NotFound, and Unprocessable if a job would refuse it.
        """
        found = self._open.get(zip_file.id)
        if found is None:
            from dspt.data.photos import open_photos  # imports Pillow

            with self._context.database.read() as session:
                zips = repository.zips_of(session, zip_file)
            try:
                storage = self._context.storage
                first, *added = (storage.remote_file(each.storage_key) for each in zips)
                found = open_photos(first, added=added)
            except FileNotFoundError as error:
                raise NotFound(
                    "The photos are missing from the storage.", code="dataset_not_found"
                ) from error
            except DatasetError as error:
                raise _refused(error) from error
            size = _BYTES_PER_ZIP * len(zips) + _BYTES_PER_FILE * len(found.photos)
            self._open.put(zip_file.id, found, size)
        return found

    def list(self, zip_file: Dataset, dataset: Dataset) -> list[Photo]:
        """Return the photos of a data set with its corrections, without dropped ones."""
        changes = service.corrections_of(self._context, dataset)
        return [
            Photo(number, c.path, c.split, changes.relabel.get(c.path, c.class_name), c.class_name)
            for number, c in enumerate(self.open(zip_file).photos)
            if c.path not in changes.drop
        ]

    def numbers(self, dataset_id: str) -> Mapping[str, int]:
        """Return file -> number of each photo; empty if the photos are no longer there."""
        with self._context.database.read() as session:
            dataset = repository.get(session, dataset_id)
            zip_file = None if dataset is None else repository.zip_of(session, dataset)
        if zip_file is None or zip_file.expired_at is not None:
            return {}
        try:
            return self.open(zip_file).numbers
        except (NotFound, Unprocessable):
            return {}

    def picture(self, zip_file: Dataset, number: int, side: int | None) -> bytes:
        """Return a photo as JPEG with at most `side` pixels on its longer side.

        Raises NotFound, and Unprocessable if the file is not a photo that can be read.
        """
        name = f"{zip_file.id}.{number}.{side or 'original'}.jpg"
        found = self._pictures.get(name)
        if found is None:
            photos = self.open(zip_file)
            if number >= len(photos.photos):
                raise NotFound(f"The data set has no photo {number}.", code="photo_not_found")
            from dspt.data.images import as_jpeg

            try:
                found = as_jpeg(photos.read(number), side)
            except ImageError as error:
                file = printable(photos.photos[number].path)
                raise Unprocessable(f"{file}: {error.message}", code="unreadable_photo") from error
            self._pictures.put(name, found)
        return found


def pictures_of(context: Context) -> DiskCache:
    """Return the pictures on this machine; the name of a file starts with the id of its zip."""
    settings = context.settings
    return DiskCache(settings.picture_dir, settings.picture_cache_bytes)


def expire(context: Context, *, dry_run: bool) -> Iterator[Kept]:
    """Delete the pictures of photos that were deleted, and yield them."""
    by_zip: dict[str, list[Kept]] = {}
    for picture in pictures_of(context).files():
        by_zip.setdefault(picture.path.name.partition(".")[0], []).append(picture)
    for zip_id, pictures in by_zip.items():
        with context.database.read() as session:
            zip_file = repository.get(session, zip_id)
        if zip_file is None or zip_file.expired_at is not None:
            for picture in pictures:
                if not dry_run:
                    picture.path.unlink(missing_ok=True)
                yield picture


def _refused(error: DatasetError) -> Unprocessable:
    items = [
        ProblemItem(param=problem.where or None, code=problem.code, message=problem.message)
        for problem in error.problems
    ]
    return Unprocessable(error.message, code="invalid_dataset", errors=items)
