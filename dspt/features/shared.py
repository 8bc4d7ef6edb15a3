"""Features of a data set that machines share, besides the cache on each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dspt.features.pack import Pack
from dspt.features.store import Feature

LARGEST = 512 << 20
"""Bytes of the largest pack that is written: a quarter of the cache of a machine."""


class PackFolder(Protocol):
    """Packs of one data set, by name. All methods raise OSError."""

    def read(self, name: str) -> bytes:
        """Return a pack. Raises FileNotFoundError."""

    def has(self, name: str) -> bool:
        """Return whether there is a pack of this name."""

    def create(self, name: str, data: bytes) -> None:
        """Store a new pack. Raises FileExistsError."""

    def replace(self, name: str, data: bytes) -> None:
        """Store a pack in place of the one of this name."""


class SharedFeatures:
    """Packs in the last of `folders`, and those of data sets that it contains. Thread-safe.

    Packs are read when the first feature is missing on this machine. If one cannot be read or
    written, `on_failure` gets the reason, and the images are encoded here.
    """

    def __init__(
        self,
        folders: Sequence[PackFolder],
        name: str,
        *,
        on_failure: Callable[[str], None] = lambda text: None,
    ) -> None:
        """name: of everything, except the image, that the features depend on."""
        self._folders, self._name, self._on_failure = folders, name, on_failure
        self._lock = threading.Lock()
        self._read = False
        self._stored = False
        self._own, self._all = Pack(), Pack()

    def get(self, image: str, views: Iterable[int]) -> dict[int, Feature]:
        """Return the features of one image by view."""
        features = self._known().features
        found = ((view, features.get((image, view))) for view in views)
        return {view: each.copy() for view, each in found if each is not None}  # writable

    def thumbnail(self, image: str) -> NDArray[np.uint8] | None:
        """Return the thumbnail (32, 32) of an image; None if it is not known."""
        return self._known().thumbnails.get(image)

    def add(
        self,
        images: Sequence[str],
        views: Sequence[range],
        features: NDArray[np.float32],
        thumbnails: NDArray[np.uint8],
    ) -> None:
        """Store what no pack has yet.

        features: (N, V, F), of which image `i` has `views[i]`; thumbnails: (N, 32, 32).
        """
        try:
            # If this machine had everything, the packs were not read.
            if not self._read and self._folders[-1].has(self._name):
                return
            new = Pack()
            for row, (image, wanted) in enumerate(zip(images, views, strict=True)):
                for view in wanted:
                    if (image, view) not in self._all.features:
                        new.features[image, view] = features[row, view]
                        new.thumbnails[image] = thumbnails[row]
            if new.features:
                self._write(new)
        except OSError as error:
            self._on_failure(f"The encoded images are not shared with other machines: {error}.")

    def _write(self, new: Pack) -> None:
        self._own.add(new)
        if self._own.nbytes > LARGEST:
            return
        data = self._own.to_bytes(self._name)
        if self._stored:
            self._folders[-1].replace(self._name, data)
            return
        try:
            self._folders[-1].create(self._name, data)
        except FileExistsError:  # another machine encoded them at the same time
            return

    def _known(self) -> Pack:
        with self._lock:
            if not self._read:
                self._read = True
                for folder in self._folders:
                    self._own = self._read_pack(folder)
                    self._all.add(self._own)
            return self._all

    def _read_pack(self, folder: PackFolder) -> Pack:
        """Return the pack in a folder; an empty one if there is none, or it is damaged."""
        self._stored = False
        try:
            data = folder.read(self._name)
            self._stored = True
            return Pack.from_bytes(self._name, data)
        except FileNotFoundError:
            return Pack()
        except (OSError, ValueError) as error:
            self._on_failure(
                f"Images are encoded again, because features that another machine encoded cannot "
                f"be read: {error}."
            )
            return Pack()
