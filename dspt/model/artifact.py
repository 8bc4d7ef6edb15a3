"""The tuned classifier as one safetensors file: tensors, and all else as its metadata.

The context vectors are always there; class embeddings are not stored, because the backbone gives
them back from these. A blend has its C x D matrix and bias too: they hold class means of images.
A file is read as if a stranger had sent it.
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
"""The manifest of a thousand classes has 0.1 MiB. As objects in memory it can be twenty times as
much."""
_TENSOR_ENTRIES_BYTES = 1024
_MAX_DEPTH = 20
_BLEND = {"matrix", "bias"}
_Temperature = Annotated[float, Field(ge=1e-3, le=1e3)]
_Name = Annotated[str, Field(min_length=1, max_length=500)]


class Manifest(BaseModel):
    """All about a tuned classifier except its tensors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["dspt.classifier/1", "dspt.classifier/2", "dspt.classifier/3"] = (
        "dspt.classifier/3"
    )
    """The first had no blend, the second no temperatures; both are still read."""
    classes: list[_Name] = Field(min_length=2, max_length=100_000)
    """Class folders of the data set: the labels that predictions carry."""
    class_words: list[_Name] = Field(min_length=2, max_length=100_000)
    """Words of each class in the prompt."""
    config: TuneConfig
    backbone_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    activation: str = Field(max_length=50)
    dataset_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    served: Literal["tuned", "zero_shot"]
    """Which of the two classifies: tuning that did not help is not served."""
    temperatures: dict[Literal["tuned", "zero_shot"], _Temperature] = {}
    """What divides the logits of class embeddings; left out: 1. A blend needs none."""
    why: str = Field(max_length=2000)
    metrics: dict[str, Any]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(self.classes) != len(self.class_words):
            raise ValueError("classes and class_words differ in length")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is named twice")
        for text in [*self.classes, *self.class_words]:
            if hidden := find_invisible(text):
                raise ValueError(f"a class name has {hidden}")
        return self


@dataclass(frozen=True)
class TunedModel:
    """A tuned classifier, apart from the backbone it belongs to."""

    context: Tensor
    """(M, W), or (C, M, W) if class-specific; float32."""
    manifest: Manifest
    blend: LinearClassifier | None = None
    """What is served where it is not the tuned prompt alone; (C, D) and (C,), float32."""

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
    """Write the artefact; the file appears whole or not at all.

    Raises ArtifactError for what `load_model` would refuse, such as one that is too large.
    """
    tensors = {"context": model.context}
    if model.blend is not None:
        tensors |= {"matrix": model.blend.matrix, "bias": model.blend.bias}
    manifest = model.manifest.model_dump_json()
    header = len(json.dumps(manifest, ensure_ascii=False).encode()) + _TENSOR_ENTRIES_BYTES
    size = header + sum(4 * tensor.numel() for tensor in tensors.values())
    if size > _MAX_BYTES or header > _MAX_HEADER_BYTES:
        raise ArtifactError(
            f"{path.name}: the classifier of {len(model.manifest.classes):,} classes would take "
            f"{size / _MIB:,.1f} MiB, {header / _MIB:,.1f} of them names and figures; at most "
            f"{_MAX_BYTES // _MIB} and {_MAX_HEADER_BYTES // _MIB} can be read again. Turn "
            "class_specific_context off, or tune fewer classes or classes with shorter names"
        )
    tensors = {name: each.detach().float().cpu().contiguous() for name, each in tensors.items()}
    _model(path.name, tensors, model.manifest)
    atomic_write(path, save(tensors, metadata={"manifest": manifest}))


def load_model(path: Path) -> TunedModel:
    """Read an artefact. Raises ArtifactError if it is damaged, not ours or contradicts itself."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ArtifactError(f"{path.name}: larger than {_MAX_BYTES // _MIB} MiB")
        with path.open("rb") as start:
            header_bytes = int.from_bytes(start.read(8), "little")
        if header_bytes > _MAX_HEADER_BYTES:  # the library makes objects of all that is in it
            raise ArtifactError(
                f"{path.name}: damaged or not a safetensors file: it says that its header is "
                f"larger than {_MAX_HEADER_BYTES // _MIB} MiB"
            )
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = set(file.keys())
            if "manifest" not in metadata or names - _BLEND != {"context"}:
                raise ArtifactError(f"{path.name}: not a tuned classifier of this program")
            if len(names & _BLEND) == 1:
                raise ArtifactError(f"{path.name}: has half of a blend, {min(names & _BLEND)}")
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
    """Text that people can read, finite numbers, no endless nesting; ValueError for others."""
    if depth == 0:
        raise ValueError("it is nested too deeply")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    if isinstance(value, str) and (hidden := find_invisible(value)):
        raise ValueError(f"a text has {hidden}")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            _check_plain(item, depth - 1)


def _model(name: str, tensors: Mapping[str, Tensor], manifest: Manifest) -> TunedModel:
    """The parts put together. Raises ArtifactError if they contradict each other."""
    _check_context(name, tensors["context"], manifest)
    if "matrix" not in tensors:
        return TunedModel(tensors["context"], manifest)
    blend = LinearClassifier(tensors["matrix"], tensors["bias"])
    _check_blend(name, blend, len(manifest.classes))
    return TunedModel(tensors["context"], manifest, blend)


def _check_blend(name: str, blend: LinearClassifier, n_classes: int) -> None:
    matrix, bias = blend.matrix, blend.bias
    if (
        matrix.ndim != 2
        or len(matrix) != n_classes
        or bias.shape != (n_classes,)
        or not matrix.numel()
    ):
        raise ArtifactError(
            f"{name}: matrix of shape {tuple(matrix.shape)} and bias of shape {tuple(bias.shape)} "
            f"for {n_classes} classes"
        )
    for tensor in (matrix, bias):
        if tensor.dtype != torch.float32 or not _is_finite(tensor):
            raise ArtifactError(f"{name}: the blend is not finite float32")


def _check_context(name: str, context: Tensor, manifest: Manifest) -> None:
    specific = manifest.config.class_specific_context
    if context.dtype != torch.float32 or context.ndim != (3 if specific else 2):
        raise ArtifactError(
            f"{name}: context is {context.dtype} of shape {tuple(context.shape)}; expected "
            f"float32 {'(C, M, W)' if specific else '(M, W)'}"
        )
    if specific and context.shape[0] != len(manifest.classes):
        raise ArtifactError(f"{name}: context for {context.shape[0]} classes, not for all")
    if manifest.config.n_ctx != context.shape[-2]:
        raise ArtifactError(f"{name}: {context.shape[-2]} context vectors, not n_ctx")
    if not context.numel():
        raise ArtifactError(f"{name}: context has shape {tuple(context.shape)}: it is empty")
    if not _is_finite(context):
        raise ArtifactError(f"{name}: context has values that are not finite")


def _is_finite(tensor: Tensor) -> bool:
    """Without a copy as large as the tensor; NaN is the least and the greatest of all."""
    return all(math.isfinite(extreme) for extreme in torch.aminmax(tensor))
