"""Open the folder or zip of a data set, and the zips of photos that were added to it later."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dspt.data.class_words import words_of
from dspt.data.findings import Findings
from dspt.data.folder import open_folder
from dspt.data.hostile.archive import StoredZip, open_zip
from dspt.data.hostile.limits import Limits
from dspt.data.lay_out import lay_out
from dspt.data.layout import Candidate, Layout, drop_unknown_classes
from dspt.data.names import confusable_key, natural_key
from dspt.data.source import Source
from dspt.errors import DatasetError, Problem
from dspt.kit.text import printable


class JoinedSource(Source[tuple[Source[Any], str]]):
    """The files of several sources. A path that an earlier source has gets a number."""

    def __init__(self, first: Source[Any]) -> None:
        super().__init__(
            {path: (first, path) for path in first.files},
            first.folders,
            first.limits,
            first.stored_bytes,
            first.unpacked_bytes,
        )
        self._sources = [first]

    def add(self, source: Source[Any]) -> dict[str, str]:
        """Add all files of `source`; return their paths there -> their paths here."""
        paths = {path: self._free(path) for path in source.files}
        self._members |= {here: (source, there) for there, here in paths.items()}
        self._sources.append(source)
        self.stored_bytes += source.stored_bytes
        self.unpacked_bytes += source.unpacked_bytes
        self._order()
        return paths

    def _free(self, path: str) -> str:
        """Return `path`, or `path` with the next free number: `cat/1.jpg` -> `cat/1 (2).jpg`."""
        stem, suffix = posixpath.splitext(path)
        free, number = path, 1
        while free in self._members:
            number += 1
            free = f"{stem} ({number}){suffix}"
        return free

    def _read(self, path: str, handle: tuple[Source[Any], str]) -> bytes:
        source, there = handle
        return source.read(there)

    def close(self) -> None:
        for source in self._sources:
            source.close()


def open_source(
    path: Path | StoredZip, limits: Limits, findings: Findings
) -> tuple[Source[Any], list[str]]:
    """Open a folder or zip; return it and the paths of the links and devices that are not read.

    Raises DatasetError.
    """
    try:
        if isinstance(path, Path) and path.is_dir():
            return open_folder(path, limits, findings)
        return open_zip(path, limits, findings), []
    except FileNotFoundError:
        raise DatasetError([Problem(str(path), "not_found", "not found")]) from None
    except ConnectionError:
        raise
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise DatasetError([Problem(str(path), "unreadable", message)]) from error


def open_laid_out(
    path: Path | StoredZip, added: Sequence[Path | StoredZip], limits: Limits, findings: Findings
) -> tuple[Source[Any], Layout, list[str]]:
    """Open a folder or zip and the zips of photos added to it, and find class and split of each.

    Return the source, its layout, and the paths of the links and devices that are not read. The
    candidates are in natural order of their paths, those of each added zip after all earlier ones.
    Raises DatasetError if a file cannot be opened; other problems go to `findings`.
    """
    source, not_read = open_source(path, limits, findings)
    with ExitStack() as unless_returned:
        unless_returned.callback(source.close)
        layout = lay_out(source, findings)
        layout.candidates.sort(key=_by_path)
        layout.unlabelled.sort(key=natural_key)
        if not added:
            unless_returned.pop_all()
            return source, layout, not_read
        joined = JoinedSource(source)
        for file in added:
            more, _ = open_source(file, limits, findings)
            unless_returned.callback(more.close)
            _join(joined, layout, more, findings)
        unless_returned.pop_all()
    return joined, layout, not_read


def _join(joined: JoinedSource, layout: Layout, more: Source[Any], findings: Findings) -> None:
    """Add the files of `more` to a source and its layout."""
    known = {name for split, name in layout.class_folders if split == "train"}
    # Tables have no blanks around a class, and Windows none at the end of a folder's name.
    as_known = {name.strip(): name for name in known} | {name: name for name in known}
    new = lay_out(more, findings, known=as_known)
    paths = joined.add(more)
    if not new.candidates and not new.unlabelled and not findings.problems:
        message = (
            "no added photo has a class; put the photos into class folders, or add labels.csv, or "
            "put them into unlabelled/ to use them without labels"
        )
        findings.problem("", "no_classes", message)
    _check_totals(joined, findings)
    names = {name for split, name in new.class_folders if split == "train"}
    _check_new_classes(known, names.difference(as_known), findings)
    for file in sorted(new.candidates, key=_by_path):
        folder = new.class_folders[file.split, file.class_name]
        name = as_known.get(file.class_name, file.class_name)
        layout.add(Candidate(paths[file.path], name, file.split), folder)
    layout.unlabelled += sorted((paths[path] for path in new.unlabelled), key=natural_key)
    layout.outside += [(paths.get(path, path), reason) for path, reason in new.outside]
    layout.ignored |= new.ignored
    drop_unknown_classes(layout, findings)


def _check_totals(source: Source[Any], findings: Findings) -> None:
    limits = source.limits
    if len(source.files) > limits.max_files:
        message = f"with the added photos there are more than {limits.max_files:,} files"
        findings.problem("", "too_many_files", message)
    if source.unpacked_bytes > limits.max_total_bytes:
        total, allowed = source.unpacked_bytes, limits.max_total_bytes
        message = f"with the added photos the files have {total:,} bytes (limit {allowed:,})"
        findings.problem("", "too_large", message)


def _check_new_classes(known: Collection[str], new: Collection[str], findings: Findings) -> None:
    """Report new classes: as a problem if they look like an existing one."""
    by_key = {confusable_key(words_of(name)): name for name in known}
    for name in sorted(new, key=natural_key):
        if there := by_key.get(confusable_key(words_of(name))):
            message = f"not a class of the data set; is it {printable(there)!r}?"
            findings.problem(printable(name), "class_exists", message)
        else:
            findings.warning("new_class", f"{printable(name)} is a new class of the added photos")


def _by_path(photo: Candidate) -> tuple[str, str]:
    return natural_key(photo.path)
