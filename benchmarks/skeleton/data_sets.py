"""Data sets by path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from dspt.errors import DatasetError, Problem


def is_class_folders(path: Path) -> bool:
    """Return whether `path` has train/ with class folders in it."""
    return (path / "train").is_dir()


def find_sets(
    paths: Iterable[Path], is_set: Callable[[Path], bool] = is_class_folders
) -> dict[str, Path]:
    """Return name -> path of the data sets: zips, folders, and the data sets right below a folder.

    Raises DatasetError for a path that does not exist and for two data sets with one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise _error(path, "not_found", "no such file or folder")
        below: list[Path] = []
        if path.is_dir() and not is_set(path):
            below = sorted(folder for folder in path.iterdir() if is_set(folder))
        for each in below or [path]:
            name = set_name(each)
            if name in found:
                message = f"two data sets are named {name!r}; rename one of the folders"
                raise _error(each, "same_name", message)
            found[name] = each
    return found


def set_name(path: Path) -> str:
    """Return the name of the folder, or of the zip without its suffix."""
    return path.resolve().stem if path.is_file() else path.resolve().name


def no_test_part(path: Path) -> DatasetError:
    """Return the error for a data set without held-out images."""
    message = (
        "has no test/ (or val/) folder; accuracy needs held-out images with correct labels. "
        "A folder of several data sets needs train/ and test/ in each of them"
    )
    return _error(path, "no_test", message)


def _error(path: Path, code: str, message: str) -> DatasetError:
    return DatasetError([Problem(str(path), code, message)])
