"""Read the files of a data set with their classes, without decoding them.

`load_dataset` decodes every image to find all problems, which the worker does once. This module is
for a data set that was checked before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dspt.data.findings import Findings
from dspt.data.hostile.limits import Limits
from dspt.data.layout import Candidate
from dspt.data.opening import open_laid_out
from dspt.data.source import Source
from dspt.errors import ImageError


@dataclass(frozen=True)
class LabelledFile:
    """The content, class and digest of a file."""

    class_name: str
    sha256: str
    data: bytes


@dataclass(frozen=True)
class LabelledFiles:
    """The files of an open data set that should be images, in no particular order."""

    files: tuple[Candidate, ...]
    _source: Source[Any]

    def read(self, file: Candidate) -> LabelledFile | None:
        """Return the file, or None if it cannot be read. Thread-safe."""
        try:
            data = self._source.read(file.path)
        except ImageError:
            return None
        return LabelledFile(file.class_name, hashlib.sha256(data).hexdigest(), data)

    def held_out(self) -> tuple[Candidate, ...]:
        """Return the files of test/, or those of val/ if test/ is empty; may be empty."""
        for part in ("test", "val"):
            if found := tuple(file for file in self.files if file.split == part):
                return found
        return ()


@contextmanager
def labelled_files(path: Path, *, added: Sequence[Path]) -> Iterator[LabelledFiles]:
    """Open a folder or zip. Raises DatasetError if it cannot be read or is not safe to read.

    added: zips of photos that were added later, as in `load_dataset`.
    """
    findings = Findings()
    source, layout, _ = open_laid_out(path, added, Limits(), findings)
    try:
        findings.refuse_if_any()
        yield LabelledFiles(tuple(layout.candidates), source)
    finally:
        source.close()
