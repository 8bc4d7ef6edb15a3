"""Encoded photos in a bucket, so that each photo is encoded by one worker only."""

from __future__ import annotations

import io
from collections.abc import Iterable

from app.kit import storage_keys
from app.kit.context import Context
from app.kit.storage import Storage
from app.tables.datasets import Dataset


class FeatureFolder:
    """The encoded photos of a data set: a `dspt.features.shared.PackFolder`."""

    def __init__(self, storage: Storage, dataset_id: str) -> None:
        self._storage, self._dataset_id = storage, dataset_id

    def read(self, name: str) -> bytes:
        return self._storage.read_bytes(self._key(name))

    def has(self, name: str) -> bool:
        try:
            self._storage.remote_file(self._key(name))
        except FileNotFoundError:
            return False
        return True

    def create(self, name: str, data: bytes) -> None:
        self._storage.create(self._key(name), data)

    def replace(self, name: str, data: bytes) -> None:
        self._storage.put(self._key(name), io.BytesIO(data))

    def _key(self, name: str) -> str:
        return f"{storage_keys.features(self._dataset_id)}/{name}.safetensors"


def feature_folders(context: Context, zips: Iterable[Dataset]) -> list[FeatureFolder]:
    """Return where workers share the encoded photos of these zips; none if they have no bucket."""
    if context.storage.is_local:  # the cache on this machine has them
        return []
    return [FeatureFolder(context.storage, each.id) for each in zips]


def delete_features(storage: Storage, dataset_id: str) -> None:
    """Delete the encoded photos of a data set."""
    for file in storage.files(storage_keys.features(dataset_id)):
        storage.remove(file.name)
