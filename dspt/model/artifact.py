"""The file of a tuned classifier: safetensors, with everything but the tensors as metadata.

The context vectors are always stored. Class embeddings are not, because the backbone computes them
from the context. An ensemble also stores its C x D matrix and bias, which contain class means of
images. Files are untrusted input.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dspt.classifier.linear import LinearClassifier
from dspt.config import TuneConfig
from dspt.data.names import find_invisible
from dspt.errors import ArtifactError
from dspt.kit import strict_json
from dspt.kit.files import atomic_write
from dspt.kit.text import printable

_MIB = 1 << 20
_MAX_BYTES = 256 * _MIB
_MAX_HEADER_BYTES = 16 * _MIB
"""The manifest of 1,000 classes takes 0.1 MiB, and up to twenty times as much once parsed."""
_TENSOR_ENTRIES_BYTES = 1024
_MAX_DEPTH = 20
_BLEND = {"matrix", "bias"}
_Temperature = Annotated[float, Field(ge=1e-3, le=1e3)]
_Name = Annotated[str, Field(min_length=1, max_length=500)]


class Manifest(BaseModel):
    """Everything about a tuned classifier except its tensors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["dspt.classifier/1", "dspt.classifier/2", "dspt.classifier/3"] = (
        "dspt.classifier/3"
    )
    """Version 1 had no ensemble, version 2 no temperatures; both are still read."""
    classes: list[_Name] = Field(min_length=2, max_length=100_000)
    """Class folders of the data set, which are the labels of predictions."""
    class_words: list[_Name] = Field(min_length=2, max_length=100_000)
    """Words of each class in the prompt."""
    config: TuneConfig
    backbone_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    activation: str = Field(max_length=50)
    dataset_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    served: Literal["tuned", "zero_shot"]
    """The classifier in use: zero-shot if tuning did not help."""
    temperatures: dict[Literal["tuned", "zero_shot"], _Temperature] = {}
    """Divisor of the logits of class embeddings. Default: 1. Not used by an ensemble."""
    why: str = Field(max_length=2000)
    metrics: dict[str, Any]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(self.classes) != len(self.class_words):
            raise ValueError("classes and class_words differ in length")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("class names must be distinct")
        for text in [*self.classes, *self.class_words]:
            if hidden := find_invisible(text):
                raise ValueError(f"a class name has {hidden}")
        return self


@dataclass(frozen=True)
class TunedModel:
    """A tuned classifier without its backbone."""

    context: Tensor
    """(M, W), or (C, M, W) if class-specific; float32."""
    manifest: Manifest
    blend: LinearClassifier | None = None
    """The ensemble, served instead of the tuned prompt; (C, D) and (C,), float32."""

    def save(self, path: Path | str) -> None:
        """Write the artefact; see `save_model`."""
        save_model(self, Path(path))

    def __repr__(self) -> str:
        manifest = self.manifest
        return (
            f"<TunedModel: {len(manifest.classes)} classes on {manifest.config.backbone}, serving "
            f"{manifest.served}>"
        )


def save_model(model: TunedModel, path: Path) -> None:
    """Write the artefact atomically.

    Raises ArtifactError for a model that `load_model` would reject, such as one that is too large.
    """
    tensors = {"context": model.context}
    if model.blend is not None:
        tensors |= {"matrix": model.blend.matrix, "bias": model.blend.bias}
    manifest = model.manifest.model_dump_json()
    header = len(json.dumps(manifest, ensure_ascii=False).encode()) + _TENSOR_ENTRIES_BYTES
    size = header + sum(4 * tensor.numel() for tensor in tensors.values())
    if size > _MAX_BYTES or header > _MAX_HEADER_BYTES:
        raise ArtifactError(
            f"{path.name}: the classifier of {len(model.manifest.classes):,} classes is too large: "
            f"{size / _MIB:,.1f} MiB (limit {_MAX_BYTES // _MIB}), of which metadata "
            f"{header / _MIB:,.1f} MiB (limit {_MAX_HEADER_BYTES // _MIB}). Turn "
            "class_specific_context off, or tune fewer classes or classes with shorter names"
        )
    tensors = {name: each.detach().float().cpu().contiguous() for name, each in tensors.items()}
    _model(path.name, tensors, model.manifest)
    atomic_write(path, save(tensors, metadata={"manifest": manifest}))


def load_model(path: Path) -> TunedModel:
    """Read an artefact. Raises ArtifactError if it is damaged, foreign or inconsistent."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ArtifactError(f"{path.name}: larger than {_MAX_BYTES // _MIB} MiB")
        with path.open("rb") as start:
            header_bytes = int.from_bytes(start.read(8), "little")
        if header_bytes > _MAX_HEADER_BYTES:  # safetensors parses all of it
            raise ArtifactError(
                f"{path.name}: damaged or not a safetensors file: header is larger than "
                f"{_MAX_HEADER_BYTES // _MIB} MiB"
            )
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = set(file.keys())
            if "manifest" not in metadata or names - _BLEND != {"context"}:
                raise ArtifactError(f"{path.name}: not a classifier tuned by dspt")
            if len(names & _BLEND) == 1:
                raise ArtifactError(
                    f"{path.name}: has {min(names & _BLEND)} but not {min(_BLEND - names)}"
                )
            tensors = {name: file.get_tensor(name) for name in names}
        values = strict_json.loads(metadata["manifest"])
        _check_plain(values, _MAX_DEPTH)
        manifest = Manifest.model_validate(values)
    except OSError as error:
        raise ArtifactError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ArtifactError(
            f"{path.name}: damaged or not a safetensors file: {printable(str(error))}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = printable(".".join(str(part) for part in first["loc"]))
        raise ArtifactError(f"{path.name}: bad manifest: {where}: {first['msg']}") from error
    except ValueError as error:
        raise ArtifactError(f"{path.name}: bad manifest: not plain JSON: {error}") from error
    return _model(path.name, tensors, manifest)


def _check_plain(value: object, depth: int) -> None:
    """Raise ValueError for invisible characters, non-finite numbers or deep nesting."""
    if depth == 0:
        raise ValueError("nested too deeply")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    if isinstance(value, str) and (hidden := find_invisible(value)):
        raise ValueError(f"a string has {hidden}")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            _check_plain(item, depth - 1)


def _model(name: str, tensors: Mapping[str, Tensor], manifest: Manifest) -> TunedModel:
    """Build the model from its parts. Raises ArtifactError if they are inconsistent."""
    _check_context(name, tensors["context"], manifest)
    if "matrix" not in tensors:
        return TunedModel(tensors["context"], manifest)
    blend = LinearClassifier(tensors["matrix"], tensors["bias"])
    _check_ensemble(name, blend, len(manifest.classes))
    return TunedModel(tensors["context"], manifest, blend)


def _check_ensemble(name: str, blend: LinearClassifier, n_classes: int) -> None:
    matrix, bias = blend.matrix, blend.bias
    if (
        matrix.ndim != 2
        or len(matrix) != n_classes
        or bias.shape != (n_classes,)
        or not matrix.numel()
    ):
        raise ArtifactError(
            f"{name}: matrix of shape {tuple(matrix.shape)} and bias of shape {tuple(bias.shape)} "
            f"do not match {n_classes} classes"
        )
    for tensor in (matrix, bias):
        if tensor.dtype != torch.float32 or not _is_finite(tensor):
            raise ArtifactError(f"{name}: matrix and bias must be finite float32")


def _check_context(name: str, context: Tensor, manifest: Manifest) -> None:
    specific = manifest.config.class_specific_context
    if context.dtype != torch.float32 or context.ndim != (3 if specific else 2):
        raise ArtifactError(
            f"{name}: context is {context.dtype} of shape {tuple(context.shape)}; expected "
            f"float32 {'(C, M, W)' if specific else '(M, W)'}"
        )
    if specific and context.shape[0] != len(manifest.classes):
        raise ArtifactError(
            f"{name}: context for {context.shape[0]} classes, expected {len(manifest.classes)}"
        )
    if manifest.config.n_ctx != context.shape[-2]:
        raise ArtifactError(
            f"{name}: {context.shape[-2]} context vectors, expected n_ctx = {manifest.config.n_ctx}"
        )
    if not context.numel():
        raise ArtifactError(f"{name}: context of shape {tuple(context.shape)} is empty")
    if not _is_finite(context):
        raise ArtifactError(f"{name}: context has values that are not finite")


def _is_finite(tensor: Tensor) -> bool:
    """Check both extremes, which allocates no copy; aminmax propagates NaN."""
    return all(math.isfinite(extreme) for extreme in torch.aminmax(tensor))
