"""A pack: features and thumbnails of many images in one file, as machines share them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dspt.features.store import Feature

_DIGEST = "sha256"


@dataclass(frozen=True)
class Pack:
    """Features by image digest (hex) and view, and thumbnails by image digest."""

    features: dict[tuple[str, int], Feature] = field(default_factory=dict)
    thumbnails: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    """Of each image that has features."""

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        parts: list[NDArray[Any]] = [*self.features.values(), *self.thumbnails.values()]
        return sum(part.nbytes for part in parts)

    def add(self, other: Pack) -> None:
        """Add the entries of another pack."""
        self.features.update(other.features)
        self.thumbnails.update(other.thumbnails)

    def to_bytes(self, name: str) -> bytes:
        """Return the file; `from_bytes` reads it only under the same name."""
        number = {image: i for i, image in enumerate(self.thumbnails)}
        digests = b"".join(map(bytes.fromhex, number))
        arrays = {
            "images": np.frombuffer(digests, np.uint8).reshape(-1, 32),
            "views": np.array([(number[image], view) for image, view in self.features]),
            "features": np.stack(list(self.features.values())),
            "thumbnails": np.stack(list(self.thumbnails.values())),
        }
        return save(arrays | {_DIGEST: _digest(name, arrays)})

    @classmethod
    def from_bytes(cls, name: str, data: bytes) -> Pack:
        """Read a file. Raises ValueError if it is damaged, or of another name."""
        try:
            arrays = load(data)
            stored = arrays.pop(_DIGEST)
        except (SafetensorError, KeyError) as error:
            raise ValueError("not a pack of features") from error
        if not np.array_equal(stored, _digest(name, arrays)):
            raise ValueError("its contents do not match its digest")
        images = [bytes(digest).hex() for digest in arrays["images"]]
        views = [(images[number], view) for number, view in arrays["views"].tolist()]
        return cls(
            dict(zip(views, arrays["features"], strict=True)),
            dict(zip(images, arrays["thumbnails"], strict=True)),
        )


def _digest(name: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    digest = hashlib.sha256(name.encode())
    for key in sorted(arrays):
        array = arrays[key]
        digest.update(f"{key} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return np.frombuffer(digest.digest(), np.uint8)
