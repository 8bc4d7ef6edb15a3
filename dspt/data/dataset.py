"""Data sets of labelled images: open, check, read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dspt.data.checks import (
    check_appearance,
    check_case,
    check_classes,
    check_images,
    train_classes,
    usable_classes,
)
from dspt.data.class_words import class_words
from dspt.data.findings import Findings, Notice
from dspt.data.hostile.limits import Limits
from dspt.data.images import NESTED_ARCHIVE, decode_image
from dspt.data.layout import Candidate, Layout
from dspt.data.names import natural_key
from dspt.data.opening import open_laid_out
from dspt.data.reading import Seen, read_all
from dspt.data.source import Source
from dspt.data.split_names import SPLITS, Split
from dspt.errors import ImageError
from dspt.kit.text import printable

_REJECTED_SHOWN = 1000


@dataclass(frozen=True)
class Item:
    """One image: its path without a common top folder, its class and its split."""

    path: str
    label: int
    """Index into the data set's classes; -1 without a label."""
    split: Split


@dataclass(frozen=True)
class Rejected:
    """A file that is not used, and the reason."""

    file: str
    reason: str
    unreadable: bool = False
    """It is where an image should be, but is not a readable one."""


@dataclass(frozen=True)
class Dataset:
    """Labelled images, all of which were decoded once. Close it after use."""

    classes: tuple[str, ...]
    """Folder names (or labels of the table), in natural order; then those added by corrections."""
    class_words: tuple[str, ...]
    """Words of each class in the prompt."""
    items: tuple[Item, ...]
    """In natural order of their paths."""
    hashes: tuple[str, ...]
    """SHA-256 (hex) of each item's file."""
    rejected: tuple[Rejected, ...]
    warnings: tuple[str, ...]
    sha256: str
    """`dataset_digest` of the items."""
    source: Source[Any]
    uploaded: tuple[Item, ...] = ()
    """The items before corrections, also the dropped ones; empty if there are no corrections."""
    confirmed: frozenset[str] = frozenset()
    """Paths of the training images whose label a person has corrected or confirmed."""
    notices: tuple[Notice, ...] = ()
    """The warnings by kind, with their files."""
    unlabelled: tuple[Item, ...] = ()
    """Images of the training set to be used without labels."""
    unlabelled_hashes: tuple[str, ...] = ()
    """SHA-256 (hex) of each of their files."""
    dropped: tuple[Item, ...] = ()
    """Images that corrections left out. Their copies tell how they were split before."""
    dropped_hashes: tuple[str, ...] = ()
    """SHA-256 (hex) of each of their files."""

    def __repr__(self) -> str:
        count = Counter(item.split for item in self.items)
        parts = ", ".join(f"{count[name]} {name}" for name in SPLITS if count[name])
        if self.unlabelled:
            parts += f", and {len(self.unlabelled)} unlabelled"
        return (
            f"<Dataset: {len(self.items)} images of {len(self.classes)} classes ({parts}), "
            f"{len(self.rejected)} files rejected>"
        )

    def of_split(self, split: Split) -> tuple[Item, ...]:
        """Return the items of one split, in order."""
        return tuple(item for item in self.items if item.split == split)

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Return the class index of each item of `split`, in order: (N,)."""
        return np.array([item.label for item in self.of_split(split)], dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Return the description of the data set in a job, as JSON values.

        Lists at most 1,000 rejected files, and then the number of further files.
        """
        split = Counter(item.split for item in self.items)
        rejected = [{"file": r.file, "reason": r.reason} for r in self.rejected[:_REJECTED_SHOWN]]
        if more := self.rejected[_REJECTED_SHOWN:]:
            rejected.append({"file": "", "reason": f"and {len(more):,} more files"})
        return {
            "sha256": self.sha256,
            "images": len(self.items),
            "classes": list(self.classes),
            "rejected": rejected,
            "split": {name: split[name] for name in SPLITS},
            "unlabelled": len(self.unlabelled),
        }

    def with_unlabelled(self) -> Dataset:
        """Return the data set with the images without labels as the last of its items."""
        hashes = (*self.hashes, *self.unlabelled_hashes)
        return replace(self, items=(*self.items, *self.unlabelled), hashes=hashes)

    def everything(self) -> Dataset:
        """Return the data set with the images without labels, then the dropped ones, at its end.

        The dropped ones have no labels in it.
        """
        whole = self.with_unlabelled()
        dropped = (replace(item, label=-1) for item in self.dropped)
        hashes = (*whole.hashes, *self.dropped_hashes)
        return replace(whole, items=(*whole.items, *dropped), hashes=hashes)

    def digest(self) -> str:
        """Return the `dataset_digest` of all images; those without labels have the class ""."""
        labelled = [(i.path, self.classes[i.label], i.split) for i in self.items]
        others = [(i.path, "", "unlabelled") for i in self.unlabelled]
        hashes = (*self.hashes, *self.unlabelled_hashes)
        return dataset_digest((*e, s) for e, s in zip(labelled + others, hashes, strict=True))

    def close(self) -> None:
        """Close the folder or zip. The images cannot be read afterwards."""
        self.source.close()

    def __enter__(self) -> Dataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load_dataset(
    path: Path | str,
    class_names: Mapping[str, str] | None = None,
    *,
    added: Sequence[Path] = (),
    limits: Limits | None = None,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Dataset:
    """Open a folder or a zip of labelled images and check all of it.

    Decodes every file once, in several threads, so that all problems are reported together.
    Nothing is unpacked to disk.

    class_names: maps class folders to their words in the prompt. Default: the folder's name.
    added: zips of photos that were added later. They are laid out like a data set, and may have
    some of its classes only.
    progress(done, total) and should_stop() are called after each file.

    Raises DatasetError with all problems, and Cancelled if should_stop() returns True.
    """
    findings = Findings()
    opened = open_laid_out(Path(path), added, limits or Limits(), findings)
    source, layout, not_read = opened
    try:
        return _read_dataset(source, layout, not_read, class_names, findings, progress, should_stop)
    except BaseException:
        source.close()
        raise


def read_image(dataset: Dataset | Source[Any], item: Item, side: int | None = None) -> Image.Image:
    """Decode one item as RGB, as `decode_image` does. Thread-safe. Raises ImageError."""
    source = dataset.source if isinstance(dataset, Dataset) else dataset
    try:
        return decode_image(source.read(item.path), side=side, max_pixels=source.limits.max_pixels)
    except ImageError as error:
        raise ImageError(f"{printable(item.path)}: {error.message}", param=item.path) from error


def dataset_digest(entries: Iterable[tuple[str, str, str, str]]) -> str:
    """Return the SHA-256 (hex) over (path, class, split, SHA-256 of content), in any order.

    The fields are separated by control characters, which none of them can contain.
    """
    lines = ("\0".join(entry) + "\n" for entry in sorted(entries))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _read_dataset(
    source: Source[Any],
    layout: Layout,
    not_read: list[str],
    class_names: Mapping[str, str] | None,
    findings: Findings,
    progress: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
) -> Dataset:
    check_classes(layout, source.limits.max_classes, findings)
    check_case(source.files, findings)

    candidates = sorted(layout.candidates, key=lambda c: natural_key(c.path))
    paths = [*(c.path for c in candidates), *layout.unlabelled]
    seen = list(read_all(source, paths, progress, should_stop))
    read = list(zip(candidates, seen[: len(candidates)], strict=True))
    unlabelled = list(zip(layout.unlabelled, seen[len(candidates) :], strict=True))
    classes = usable_classes(layout, read, findings)
    check_images(layout, classes, read, findings)
    ignored = {*layout.ignored, *train_classes(layout)} - {*classes}
    words = class_words(classes, class_names, findings, ignored=ignored)
    check_appearance(read, findings)
    rejected = _rejected(layout, classes, read, unlabelled, not_read)
    for archive in (r for r in rejected if r.reason == NESTED_ARCHIVE):
        findings.warning("archive", f"{printable(archive.file)}: {NESTED_ARCHIVE}")
    extra = [(path, s.sha256) for path, s in unlabelled if s.reason is None]
    if extra:
        photos = "1 photo is" if len(extra) == 1 else f"{len(extra):,} photos are"
        findings.warning("unlabelled", f"{photos} in unlabelled/ and read without labels")
    findings.refuse_if_any()

    index = {name: i for i, name in enumerate(classes)}
    good = [(c, s) for c, s in read if s.reason is None and c.class_name in index]
    dataset = Dataset(
        classes=classes,
        class_words=words,
        items=tuple(Item(c.path, index[c.class_name], c.split) for c, _ in good),
        hashes=tuple(s.sha256 for _, s in good),
        rejected=rejected,
        warnings=findings.warnings,
        notices=findings.notices,
        sha256="",
        source=source,
        unlabelled=tuple(Item(path, -1, "train") for path, _ in extra),
        unlabelled_hashes=tuple(sha256 for _, sha256 in extra),
    )
    return replace(dataset, sha256=dataset.digest())


def _rejected(
    layout: Layout,
    classes: Collection[str],
    read: list[tuple[Candidate, Seen]],
    unlabelled: list[tuple[str, Seen]],
    not_read: list[str],
) -> tuple[Rejected, ...]:
    from_links = [
        Rejected(p, "a link to outside the folder, or not a regular file") for p in not_read
    ]
    outside = [Rejected(path, reason) for path, reason in layout.outside]
    should_be = [*((c.path, s) for c, s in read), *unlabelled]
    unreadable = [Rejected(path, s.reason, True) for path, s in should_be if s.reason is not None]
    without_class = [
        Rejected(c.path, f"the class {printable(c.class_name)!r} is left out")
        for c, s in read
        if s.reason is None and c.class_name not in classes
    ]
    rejected = [*from_links, *outside, *unreadable, *without_class]
    return tuple(sorted(rejected, key=lambda r: natural_key(r.file)))
