"""The files of a data set with their classes, of which none is decoded: for one that was checked.

`load_dataset` decodes every image to know all that is wrong; that is the worker's to do, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dspt.data.dataset import lay_out, open_source
from dspt.data.findings import Findings
from dspt.data.hostile.limits import Limits
from dspt.data.layout import Candidate
from dspt.data.source import Source
from dspt.errors import ImageError


@dataclass(frozen=True)
class LabelledFile:
    """A file that was read."""

    class_name: str
    sha256: str
    data: bytes


@dataclass(frozen=True)
class LabelledFiles:
    """Files that should be images, in no particular order."""

    files: tuple[Candidate, ...]
    _source: Source[Any]

    def read(self, file: Candidate) -> LabelledFile | None:
        """None if it cannot be read. Safe from several threads."""
        try:
            data = self._source.read(file.path)
        except ImageError:
            return None
        return LabelledFile(file.class_name, hashlib.sha256(data).hexdigest(), data)

    def held_out(self) -> tuple[Candidate, ...]:
        """Those of test/, or else of val/; none where there is neither."""
        for part in ("test", "val"):
            if found := tuple(file for file in self.files if file.split == part):
                return found
        return ()


@contextmanager
def labelled_files(path: Path, limits: Limits | None = None) -> Iterator[LabelledFiles]:
    """The files of a folder or zip. Raises DatasetError where it cannot be read at all."""
    findings = Findings()
    source, _ = open_source(path, limits or Limits(), findings)
    try:
        layout = lay_out(source, findings)
        findings.refuse_if_any()
        yield LabelledFiles(tuple(layout.candidates), source)
    finally:
        source.close()
