"""Build a card from a classifier's file and its job.

The metrics in a file are untrusted: invalid ones are omitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

from pydantic import Field, TypeAdapter, ValidationError

from dspt.report.card.limits import limits_of
from dspt.report.card.schema import (
    CardBackbone,
    CardClass,
    CardEpoch,
    CardNoise,
    CardResult,
    CardUnlabelled,
    ClassifierKind,
    Figure,
    JobRecord,
    ModelCard,
    Share,
)

if TYPE_CHECKING:
    from dspt.model.artifact import Manifest

T = TypeVar("T")
_KINDS: tuple[ClassifierKind, ...] = get_args(ClassifierKind)
_COUNT = Annotated[int, Field(ge=0)]
_FIGURES = dict[str, Figure]
_EPOCHS = Annotated[list[CardEpoch], Field(max_length=10_000)]


def card_of(
    manifest: Manifest,
    *,
    name: str,
    metrics: Mapping[str, Any] | None = None,
    job: JobRecord | None = None,
    model_id: str | None = None,
    artifact_sha256: str | None = None,
) -> ModelCard:
    """Return the card of a classifier.

    metrics: all metrics of its job. Default: those in the manifest.
    """
    found = manifest.metrics if metrics is None else metrics
    card = ModelCard(
        name=name,
        model_id=model_id,
        source="manifest" if job is None else "job",
        job=job,
        served=manifest.served,
        why=manifest.why,
        backbone=_backbone(manifest),
        measured_on=_read(str, found.get("measured_on"), one_of=("test", "val", "held_out")),
        results=[
            result
            for kind in _KINDS
            if (kind != "prompt" or manifest.config.tuning == "prompt")
            and isinstance(part := found.get(kind), dict)
            and (result := _read(CardResult, {**part, "classifier": kind}))
        ],
        classes=_classes(manifest, found),
        added_classes=_read(list[str], found.get("added_classes")) or [],
        noise=_read(CardNoise, found.get("noise_rate")),
        unlabelled=_read(CardUnlabelled, found.get("unlabelled")),
        blend=_read(_FIGURES, found.get("blend")) or {},
        temperatures={str(kind): value for kind, value in manifest.temperatures.items()},
        epochs=_read(_EPOCHS, found.get("history")) or [],
        seconds=_read(_FIGURES, found.get("seconds")) or {},
        config=manifest.config.model_dump(mode="json"),
        dataset_sha256=manifest.dataset_sha256,
        artifact_sha256=artifact_sha256,
    )
    return card.model_copy(update={"limits": limits_of(card)})


def _read(kind: type[T] | Any, value: object, one_of: Sequence[T] = ()) -> T | Any:
    """Return `value` validated as a `kind`, or None if it is invalid."""
    try:
        found = TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return None
    return None if one_of and found not in one_of else found


def _backbone(manifest: Manifest) -> CardBackbone:
    from dspt.backbones import list_backbones  # imports huggingface_hub

    name = manifest.config.backbone
    known = {info.name: info for info in list_backbones()}.get(name)
    return CardBackbone(
        name=name,
        digest=manifest.backbone_digest,
        activation=manifest.activation,
        licence=known.licence if known else None,
        note=known.note if known else None,
    )


def _classes(manifest: Manifest, metrics: Mapping[str, Any]) -> list[CardClass]:
    parts = {kind: part for kind in _KINDS if isinstance(part := metrics.get(kind), dict)}
    accuracy = {
        kind: _read(dict[str, Share | None], part.get("per_class")) or {}
        for kind, part in parts.items()
    }
    confusion = _confusion(parts.get(manifest.served, {}), len(manifest.classes))
    rows = []
    named = zip(manifest.classes, manifest.class_words, strict=True)
    for number, (name, words) in enumerate(named):
        row = CardClass(
            name=name,
            words=words,
            zero_shot=accuracy.get("zero_shot", {}).get(name),
            prompt=accuracy.get("prompt", {}).get(name),
            tuned=accuracy.get("tuned", {}).get(name),
        )
        if confusion is not None:
            counts = confusion[number]
            row.images = sum(counts)
            others = [count if other != number else 0 for other, count in enumerate(counts)]
            row.mistaken = max(others)
            if row.mistaken:
                row.mistaken_for = manifest.classes[others.index(row.mistaken)]
        rows.append(row)
    return rows


def _confusion(part: Mapping[str, Any], n_classes: int) -> list[list[int]] | None:
    """Return the (C, C) counts by label and prediction, or None if missing or invalid."""
    counts: list[list[int]] | None = _read(list[list[_COUNT]], part.get("confusion"))
    if counts is None or {len(counts), *map(len, counts)} != {n_classes}:
        return None
    return counts
