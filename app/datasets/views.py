"""Data sets and photos as the API returns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dspt_client.schemas.datasets import ClassCount, DatasetDetail, DatasetView, PhotoView

from app.datasets.photos import Photo
from app.tables.datasets import Dataset
from dspt.data.names import natural_key
from dspt.data.split_names import Split


def view(dataset: Dataset) -> DatasetView:
    return DatasetView(**_fields(dataset))


def detail(
    dataset: Dataset,
    counts: Mapping[tuple[str, Split], int],
    unlabelled: int,
    warnings: Sequence[str],
) -> DatasetDetail:
    """counts: (class, part) -> number of files."""
    classes = sorted({name for name, _ in counts}, key=natural_key)
    return DatasetDetail(
        **_fields(dataset),
        images=sum(counts.values()),
        unlabelled=unlabelled,
        classes=[
            ClassCount(
                name=name,
                train=counts.get((name, "train"), 0),
                val=counts.get((name, "val"), 0),
                test=counts.get((name, "test"), 0),
            )
            for name in classes
        ],
        warnings=list(warnings),
    )


def photo_view(dataset_id: str, photo: Photo) -> PhotoView:
    address = f"/datasets/{dataset_id}/images/{photo.number}"
    return PhotoView(
        number=photo.number,
        file=photo.file,
        split=photo.split,
        label=photo.label,
        given=photo.given,
        links={"thumbnail": f"{address}?size=192", "large": f"{address}?size=1280"},
    )


def _fields(dataset: Dataset) -> dict[str, Any]:
    address = f"/datasets/{dataset.id}"
    return {
        "id": dataset.id,
        "filename": dataset.filename,
        "sha256": dataset.sha256,
        "size_bytes": dataset.size_bytes,
        "created_at": dataset.created_at,
        "kept": dataset.kept,
        "expired": dataset.expired_at is not None,
        "parent_id": dataset.parent_id or dataset.base_id,
        "version": dataset.version,
        "metadata": dataset.user_metadata or {},
        "relabelled": dataset.relabelled,
        "dropped": dataset.dropped,
        "links": {"self": address, "images": f"{address}/images"},
    }
