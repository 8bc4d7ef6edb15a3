"""Add photos to a data set: the result is a new version, which shares the files of the old one."""

from __future__ import annotations

import csv
import dataclasses
import io
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Literal

from app.access.caller import Caller
from app.datasets import repository, service
from app.kit.context import Context
from app.kit.http.errors import Conflict, ProblemItem, Unprocessable
from dspt.data.split_names import Split
from dspt.kit import strict_json
from dspt.kit.text import printable

#: Each one is a zip that every job on the data set opens.
MAX_ADDITIONS = 100
_COPY_BYTES = 1024**2


def add(context: Context, caller: Caller, dataset_id: str, photos: service.Upload) -> str:
    """Store photos added to a data set, and return the id of the new version.

    It has the photos and corrections of the old one, and belongs to its owner. The same photos
    added to the same version are stored once. Raises NotFound, TooManyRequests for the quota, and
    Conflict if the old one has expired or photos were added too many times.
    """
    with context.database.read() as session:
        base = service.find(session, caller, dataset_id)
        additions = len(repository.zips_of(session, base)) - 1
    if additions >= MAX_ADDITIONS:
        raise Conflict(
            f"Photos were added to this data set {MAX_ADDITIONS} times, the maximum. Upload all of "
            "them as one zip.",
            code="too_many_additions",
        )
    made = dataclasses.replace(photos, base_id=base.id, root_id=base.family_id)
    return service.store(context, made, base.owner, kept=True)


def by_name(names: Sequence[str], files: Sequence[IO[bytes]]) -> dict[str, IO[bytes]]:
    """Return the files by name. Raises Unprocessable if several have the same name."""
    if repeated := _repeated(names):
        raise _wrong(repeated)
    return dict(zip(names, files, strict=True))


def labels_of(names: Sequence[str], label: str | None, labels: str | None) -> dict[str, str]:
    """Return the class of each image by file name.

    label: of all; labels: JSON object from file name to class. Raises Unprocessable with all files
    that have the same name or no class.
    """
    if (label is None) == (labels is None):
        raise _wrong([("label", "send exactly one of `label` and `labels` with `images`")])
    of_file = dict.fromkeys(names, label or "") if labels is None else _parsed(labels)
    found = {name: text.strip() for name, text in of_file.items()}
    sent = dict.fromkeys(names)
    problems = _repeated(names)
    problems += [(name, "this image has no class") for name in sent if not found.get(name)]
    problems += [(name, "no such image was sent") for name in found if name not in sent]
    if problems:
        raise _wrong(problems)
    return found


def _repeated(names: Sequence[str]) -> list[tuple[str, str]]:
    counts = Counter(names)
    return [(name, "several images have this name") for name in counts if counts[name] > 1]


def _parsed(labels: str) -> Mapping[str, str]:
    try:
        found = strict_json.loads(labels)
    except ValueError as error:
        raise _wrong([("labels", f"invalid JSON: {error}")]) from error
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise _wrong([("labels", 'must be a JSON object such as {"1.jpg": "cat"}')])
    return found


@contextmanager
def packed(
    images: Mapping[str, IO[bytes]],
    labels: Mapping[str, str] | None,
    split: Split | Literal["unlabelled"],
) -> Iterator[service.Upload]:
    """Yield images with their classes as one upload; the same images make the same zip.

    labels: None with the split `unlabelled`.
    """
    table = io.StringIO()
    folder = "unlabelled" if labels is None else "images"
    if labels is not None:
        rows = csv.writer(table)
        rows.writerow(["file", "label", "split"])
        rows.writerows([f"{folder}/{name}", labels[name], split] for name in images)
    with tempfile.TemporaryFile(prefix="dspt-") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            if labels is not None:
                archive.writestr(zipfile.ZipInfo("labels.csv"), table.getvalue())
            for name, image in images.items():
                with archive.open(zipfile.ZipInfo(f"{folder}/{name}"), "w") as target:
                    shutil.copyfileobj(image, target, _COPY_BYTES)
        yield service.receive(file, "images.zip")


def _wrong(problems: Sequence[tuple[str, str]]) -> Unprocessable:
    items = [
        ProblemItem(param=printable(where), code="invalid_request", message=message)
        for where, message in problems
    ]
    return Unprocessable(f"{items[0].param}: {items[0].message}", errors=items)
