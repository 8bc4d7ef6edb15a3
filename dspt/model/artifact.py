"""A tuned classifier as torch tensors; `dspt.model.format` has its file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch import Tensor

from dspt.classifier.linear import LinearClassifier
from dspt.errors import ArtifactError
from dspt.kit.files import atomic_write
from dspt.model.format import (
    MAX_BYTES,
    MAX_HEADER_BYTES,
    MIB,
    Artifact,
    Manifest,
    checked,
    read_artifact,
)

if TYPE_CHECKING:
    from dspt.backbones.base import Backbone
    from dspt.classifier.fit import Fitted
    from dspt.config import TuneConfig

__all__ = ["Manifest", "TunedModel", "from_artifact", "load_model", "save_model", "tuned_model"]

_TENSOR_ENTRIES_BYTES = 1024


@dataclass(frozen=True)
class TunedModel:
    """A tuned classifier without its backbone."""

    context: Tensor
    """(M, W), or (C, M, W) if class-specific; float32."""
    manifest: Manifest
    blend: LinearClassifier | None = None
    """The ensemble, served instead of the tuned prompt: (C, F), or (C, D) if its class means are
    those of embeddings; and (C,). float32."""
    class_means: Tensor | None = None
    """(K, D), int8: directions of the mean embeddings of classes that have photos, to notice drift
    (`dspt.model.drift`)."""

    def save(self, path: Path | str) -> None:
        """Write the artefact; see `save_model`."""
        save_model(self, Path(path))

    def __repr__(self) -> str:
        manifest = self.manifest
        return (
            f"<TunedModel: {len(manifest.classes)} classes on {manifest.config.backbone}, serving "
            f"{manifest.served}>"
        )


def tuned_model(
    fitted: Fitted,
    context: Tensor,
    backbone: Backbone,
    config: TuneConfig,
    classes: Sequence[str],
    class_words: Sequence[str],
    dataset_sha256: str,
    *,
    metrics: dict[str, Any],
    class_means: Tensor | None = None,
) -> TunedModel:
    """Return the result of `dspt.classifier.fit.fit` as a classifier that can be saved.

    context, class_means: see TunedModel; dataset_sha256: digest of what it was fitted to.
    """
    manifest = Manifest(
        classes=list(classes),
        class_words=list(class_words),
        config=config,
        backbone_digest=backbone.digest,
        activation=backbone.activation,
        dataset_sha256=dataset_sha256,
        served=fitted.served,
        temperatures=fitted.temperatures,
        why=fitted.why,
        metrics=metrics,
    )
    ensemble = fitted.tuned if config.classifier == "blend" else None
    return TunedModel(context.cpu(), manifest, ensemble, class_means)


def save_model(model: TunedModel, path: Path) -> None:
    """Write the artefact atomically.

    Raises ArtifactError for a model that `load_model` would reject, such as one that is too large.
    """
    tensors = {"context": model.context}
    if model.blend is not None:
        tensors |= {"matrix": model.blend.matrix, "bias": model.blend.bias}
    tensors = {name: each.detach().float().cpu().contiguous() for name, each in tensors.items()}
    if model.class_means is not None:
        tensors["class_means"] = model.class_means
    manifest = model.manifest.model_copy(update={"format": "dspt.classifier/4"})
    metadata = json.dumps(manifest.model_dump_json(), ensure_ascii=False)
    header = len(metadata.encode()) + _TENSOR_ENTRIES_BYTES
    size = header + sum(tensor.nbytes for tensor in tensors.values())
    if size > MAX_BYTES or header > MAX_HEADER_BYTES:
        raise ArtifactError(
            f"{path.name}: the classifier of {len(model.manifest.classes):,} classes is too large: "
            f"{size / MIB:,.1f} MiB (limit {MAX_BYTES // MIB}), of which metadata "
            f"{header / MIB:,.1f} MiB (limit {MAX_HEADER_BYTES // MIB}). Turn "
            "class_specific_context off, or tune fewer classes or classes with shorter names"
        )
    arrays = {name: each.numpy() for name, each in tensors.items()}
    checked(path.name, arrays, model.manifest)
    if model.blend is not None:
        half = tensors["matrix"].half()
        if torch.equal(half.float(), tensors["matrix"]):
            tensors["matrix"] = half
            manifest = manifest.model_copy(update={"format": "dspt.classifier/5"})
    atomic_write(path, save(tensors, metadata={"manifest": manifest.model_dump_json()}))


def from_artifact(artifact: Artifact) -> TunedModel:
    """Return the model in an artefact; its tensors share the artefact's memory."""
    context = torch.from_numpy(artifact.context)
    blend = means = None
    if artifact.matrix is not None and artifact.bias is not None:
        matrix, bias = torch.from_numpy(artifact.matrix), torch.from_numpy(artifact.bias)
        blend = LinearClassifier(matrix, bias)
    if artifact.class_means is not None:
        means = torch.from_numpy(artifact.class_means)
    return TunedModel(context, artifact.manifest, blend, means)


def load_model(path: Path) -> TunedModel:
    """Read an artefact. Raises ArtifactError if it is damaged, foreign or inconsistent."""
    return from_artifact(read_artifact(path))
