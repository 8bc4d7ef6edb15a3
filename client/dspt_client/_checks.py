"""Checks of a folder or zip before it is sent: what no service accepts.

They are few and certain. A service checks the rest, and every image.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path

from dspt_client._exceptions import NotSent

_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
_LAYOUT = "Put the photos of each class in a folder of their own: CLASS/PHOTO."


def check_zip(path: Path) -> None:
    """Raise NotSent if the file is no zip, or has no photos of two classes. Raises OSError."""
    with path.open("rb"):  # is_zipfile hides why a file cannot be read
        pass
    if not zipfile.is_zipfile(path):
        raise NotSent(f"{path}: not a zip file. Pass a zip or a folder. {_LAYOUT}")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError):
        return  # the service says what is wrong with it
    if not any("\\" in name for name in names):
        check_names(str(path), [name for name in names if not name.endswith("/")])


def check_names(where: str, files: Collection[str]) -> None:
    """Raise NotSent if these files cannot be photos of two classes.

    where: the folder or zip; files: their paths in it.
    """
    files = [file for file in files if not _is_hidden(file)]
    if not files:
        raise NotSent(f"{where}: contains no files. {_LAYOUT}")
    if any(file.lower().endswith(_TABLES) for file in files):
        return  # the classes may be in the table
    paths = [file.split("/") for file in files]
    if all(len(path) == 1 for path in paths):
        raise NotSent(f"{where}: all files are directly in it, in no class folder. {_LAYOUT}")
    # The class folders may be at the top, or below any number of common folders and splits.
    for depth in range(max(map(len, paths))):
        folders = {path[depth] for path in paths if len(path) > depth + 1}
        if len(folders) > 1 and not {name.lower() for name in folders} <= _SPLITS:
            return
    raise NotSent(f"{where}: has files of a single class; a classifier needs two. {_LAYOUT}")


def _is_hidden(file: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in file.split("/"))
