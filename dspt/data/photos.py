"""The photos of a data set by number, read one at a time; nothing is decoded to list them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from dspt.data.checks import check_classes
from dspt.data.findings import Findings
from dspt.data.hostile.archive import StoredZip
from dspt.data.hostile.limits import Limits
from dspt.data.layout import Candidate
from dspt.data.opening import open_laid_out
from dspt.data.source import Source


class Photos:
    """The files that should be photos, by number. Close it after use. Thread-safe."""

    def __init__(
        self,
        source: Source[Any],
        photos: tuple[Candidate, ...],
        warnings: tuple[str, ...],
        unlabelled: int = 0,
    ) -> None:
        self._source = source
        self.photos = photos
        """In natural order of their paths, and then photos that were added later. So the number of
        a photo never changes, also when more are added."""
        self.warnings = warnings
        self.unlabelled = unlabelled
        """Files that should be photos without a label. They have no number."""

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """Path of each photo -> its number."""
        return {photo.path: number for number, photo in enumerate(self.photos)}

    def read(self, number: int) -> bytes:
        """Return the file of a photo. Raises IndexError, and ImageError if it is damaged."""
        return self._source.read(self.photos[number].path)

    def close(self) -> None:
        """Close the folder or zip."""
        self._source.close()

    def __enter__(self) -> Photos:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_photos(
    path: Path | StoredZip, limits: Limits | None = None, *, added: Sequence[Path | StoredZip] = ()
) -> Photos:
    """Open an untrusted folder or zip and find class and split of each file.

    added: zips of photos that were added later, as in `load_dataset`.

    Takes a small part of the time of `load_dataset`, because no file is decoded: a file may still
    turn out to be damaged, and a class to have no usable photo.
    Raises DatasetError with all reasons why its files or its layout cannot be used.
    """
    findings = Findings()
    source, layout, _ = open_laid_out(path, added, limits or Limits(), findings)
    try:
        check_classes(layout, source.limits.max_classes, findings)
        findings.refuse_if_any()
    except BaseException:
        source.close()
        raise
    return Photos(source, tuple(layout.candidates), findings.warnings, len(layout.unlabelled))
