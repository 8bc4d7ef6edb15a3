"""Data sets in the layout of CoOp's authors (DATASETS.md in github.com/KaiyangZhou/CoOp).

Covers all that have a file `split_zhou_*.json` (Caltech101, DescribableTextures, EuroSAT, Food101,
OxfordFlowers, OxfordPets, StanfordCars, SUN397, UCF101), and FGVCAircraft by its own lists.
ImageNet and its variants are not covered. The part `val` is not used, as in the papers. Class words
are CoOp's: the names in the lists with spaces for underscores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel, NonNegativeInt, ValidationError

from dspt.data import Item
from dspt.data.names import unsafe_reason
from dspt.data.split_names import Split
from dspt.errors import DatasetError, Problem
from dspt.kit.text import printable

IMAGE_FOLDERS = {
    "Caltech101": "101_ObjectCategories",
    "DescribableTextures": "images",
    "EuroSAT": "2750",
    "Food101": "images",
    "OxfordFlowers": "jpg",
    "OxfordPets": "images",
    "StanfordCars": ".",  # its paths begin with cars_train/ or cars_test/
    "SUN397": "SUN397",
    "UCF101": "UCF-101-midframes",
}
"""Where the paths in `split_zhou_<name>.json` begin."""

_PREFIX = "split_zhou_"
_AIRCRAFT = "variants.txt"


CoopSet = tuple[tuple[str, ...], tuple[Item, ...], dict[str, Path]]
"""Class words; items of train and test, with paths relative to the data set's folder; path of an
item -> its file."""
_Row = tuple[Split, str, int, str]
"""Part, path, class, class name."""


class _Lists(BaseModel):
    """Path, class and class name of each image."""

    train: list[tuple[str, NonNegativeInt, str]]
    test: list[tuple[str, NonNegativeInt, str]]


def is_coop_set(folder: Path) -> bool:
    """Return whether `folder` is a data set in CoOp's layout."""
    return (folder / _AIRCRAFT).is_file() or any(folder.glob(f"{_PREFIX}*.json"))


def read_coop_set(folder: Path) -> CoopSet:
    """Read the lists; no image is opened. Raises DatasetError naming the file at fault."""
    splits = sorted(folder.glob(f"{_PREFIX}*.json"))
    if len(splits) > 1:
        raise _error(folder, f"has {len(splits)} files {_PREFIX}*.json; keep one of them")
    if not splits:
        return _collect(folder / _AIRCRAFT, folder / "images", _aircraft(folder))
    name = splits[0].stem.removeprefix(_PREFIX)
    if name not in IMAGE_FOLDERS:
        known = ", ".join(IMAGE_FOLDERS)
        raise _error(splits[0], f"unknown data set {name!r} in CoOp's layout; known: {known}")
    return _collect(splits[0], folder / IMAGE_FOLDERS[name], _split_rows(splits[0]))


def _split_rows(path: Path) -> Iterator[_Row]:
    try:
        lists = _Lists.model_validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        raise _error(path, f"cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise _error(path, f"cannot be read: {where}: {first['msg']}") from error
    yield from (("train", *row) for row in lists.train)
    yield from (("test", *row) for row in lists.test)


def _aircraft(folder: Path) -> Iterator[_Row]:
    names = _lines(folder / _AIRCRAFT)
    index = {name: label for label, name in enumerate(names)}
    parts: tuple[Split, ...] = ("train", "test")
    for part in parts:
        path = folder / f"images_variant_{part}.txt"
        for number, line in enumerate(_lines(path), 1):
            image, _, name = line.partition(" ")
            if name not in index:
                raise _error(path, f"line {number}: {name!r} is not in {_AIRCRAFT}")
            yield part, f"{image}.jpg", index[name], name


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError) as error:
        raise _error(path, f"cannot be read: {error}") from error


def _collect(lists: Path, images: Path, rows: Iterable[_Row]) -> CoopSet:
    names: dict[int, str] = {}
    items: list[Item] = []
    files: dict[str, Path] = {}
    for part, file, label, name in rows:
        if reason := unsafe_reason(file):
            raise _error(lists, f"{printable(file)!r}: {reason}")
        if names.setdefault(label, name) != name:
            raise _error(lists, f"class {label} has the names {names[label]!r} and {name!r}")
        path = (images / file).relative_to(lists.parent).as_posix()
        if path in files:
            raise _error(lists, f"{printable(file)!r} is listed twice")
        items.append(Item(path, label, part))
        files[path] = images / file
    n_classes = len(names)
    if n_classes < 2 or sorted(names) != list(range(n_classes)):
        raise _error(lists, f"labels must run from 0 without gaps, found {sorted(names)}")
    for part in ("train", "test"):
        missing = set(names) - {item.label for item in items if item.split == part}
        if missing:
            first = names[min(missing)]
            raise _error(lists, f"{len(missing)} classes without a {part} image, such as {first!r}")
    words = tuple(names[label].replace("_", " ") for label in range(n_classes))
    return words, tuple(items), files


def _error(path: Path, message: str) -> DatasetError:
    return DatasetError([Problem(str(path), "invalid_list", message)])
