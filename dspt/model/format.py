"""The file of a tuned classifier: safetensors, with everything but the tensors as metadata.

The context vectors are always stored. Class embeddings are not, because the backbone computes them
from the context. An ensemble also stores its matrix and bias, which contain class means of
images; the matrix in float16 if that loses nothing, as in a matrix that was tuned. The means
themselves are stored to notice drift (`dspt.model.drift`). Files are untrusted input. They are read
without torch, which the service then does not need to classify.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open

from dspt.config import TuneConfig
from dspt.data.names import find_invisible
from dspt.errors import ArtifactError
from dspt.kit import strict_json
from dspt.kit.text import printable, without_prefix
from dspt.kit.text_pattern import SHA256

MIB = 1 << 20
MAX_BYTES = 256 * MIB
MAX_HEADER_BYTES = 16 * MIB
"""The manifest of 1,000 classes takes 0.1 MiB, and up to twenty times as much once parsed."""
_MAX_DEPTH = 20
_BLEND = {"matrix", "bias"}
_MEANS = "class_means"
_DTYPES = {_MEANS: ("I8",), "matrix": ("F16", "F32")}
_Temperature = Annotated[float, Field(ge=1e-3, le=1e3)]
_Name = Annotated[str, Field(min_length=1, max_length=500)]


class Manifest(BaseModel):
    """Everything about a tuned classifier except its tensors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[
        "dspt.classifier/1",
        "dspt.classifier/2",
        "dspt.classifier/3",
        "dspt.classifier/4",
        "dspt.classifier/5",
    ] = "dspt.classifier/4"
    """Version 1 had no ensemble, version 2 no temperatures, version 3 no class means, version 4 no
    matrix in float16; all are still read. A file has version 5 only if its matrix is in float16, so
    that older programs read the others."""
    classes: list[_Name] = Field(min_length=2, max_length=100_000)
    """Class folders of the data set, which are the labels of predictions."""
    class_words: list[_Name] = Field(min_length=2, max_length=100_000)
    """Words of each class in the prompt."""
    config: TuneConfig
    backbone_digest: Annotated[str, SHA256]
    activation: str = Field(max_length=50)
    dataset_sha256: Annotated[str, SHA256]
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
class Artifact:
    """The content of a file; `dspt.model.artifact.TunedModel` is the same with tensors."""

    context: NDArray[np.float32]
    """(M, W), or (C, M, W) if class-specific."""
    manifest: Manifest
    matrix: NDArray[np.float32] | None = None
    """The ensemble, served instead of the tuned prompt: (C, D)."""
    bias: NDArray[np.float32] | None = None
    """(C,)."""
    class_means: NDArray[np.int8] | None = None
    """(K, D), none 0; K <= C."""

    def untuned(self) -> Artifact:
        """Return a copy that serves zero-shot."""
        manifest = self.manifest.model_copy(update={"served": "zero_shot"})
        return dataclasses.replace(self, manifest=manifest)


def read_artifact(path: Path) -> Artifact:
    """Read an artefact. Raises ArtifactError if it is damaged, foreign or inconsistent."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ArtifactError(f"{path.name}: larger than {MAX_BYTES // MIB} MiB")
        with path.open("rb") as start:
            header_bytes = int.from_bytes(start.read(8), "little")
        if header_bytes > MAX_HEADER_BYTES:  # safetensors parses all of it
            raise ArtifactError(
                f"{path.name}: damaged or not a safetensors file: header is larger than "
                f"{MAX_HEADER_BYTES // MIB} MiB"
            )
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            names = set(file.keys())
            if "manifest" not in metadata or names - _BLEND - {_MEANS} != {"context"}:
                raise ArtifactError(f"{path.name}: not a classifier tuned by dspt")
            if len(names & _BLEND) == 1:
                raise ArtifactError(
                    f"{path.name}: has {min(names & _BLEND)} but not {min(_BLEND - names)}"
                )
            for name in sorted(names):
                dtype, expected = file.get_slice(name).get_dtype(), _DTYPES.get(name, ("F32",))
                if dtype not in expected:
                    wanted = " or ".join(expected)
                    raise ArtifactError(f"{path.name}: {name} is {dtype}; expected {wanted}")
            tensors = {name: file.get_tensor(name) for name in names}
        if "matrix" in tensors:
            tensors["matrix"] = tensors["matrix"].astype(np.float32, copy=False)
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
        place = f"{where}: " if where else ""
        message = without_prefix(first["msg"])
        raise ArtifactError(f"{path.name}: bad manifest: {place}{message}") from error
    except ValueError as error:
        raise ArtifactError(f"{path.name}: bad manifest: not plain JSON: {error}") from error
    return checked(path.name, tensors, manifest)


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


def checked(name: str, tensors: Mapping[str, NDArray[Any]], manifest: Manifest) -> Artifact:
    """Return the artefact made of these parts. Raises ArtifactError if they are inconsistent."""
    context, matrix, bias = tensors["context"], tensors.get("matrix"), tensors.get("bias")
    means = tensors.get(_MEANS)
    _check_context(name, context, manifest)
    if matrix is not None and bias is not None:
        _check_ensemble(name, matrix, bias, len(manifest.classes))
    if means is not None:
        _check_means(name, means, len(manifest.classes))
    return Artifact(context, manifest, matrix, bias, means)


def _check_means(name: str, means: NDArray[np.int8], n_classes: int) -> None:
    if means.ndim != 2 or not 0 < len(means) <= n_classes or not means.size:
        raise ArtifactError(
            f"{name}: class means of shape {means.shape} do not match {n_classes} classes"
        )
    if not means.any(axis=1).all():
        raise ArtifactError(f"{name}: a class mean is 0")


def _check_ensemble(
    name: str, matrix: NDArray[np.float32], bias: NDArray[np.float32], n_classes: int
) -> None:
    if (
        matrix.ndim != 2
        or len(matrix) != n_classes
        or bias.shape != (n_classes,)
        or not matrix.size
    ):
        raise ArtifactError(
            f"{name}: matrix of shape {matrix.shape} and bias of shape {bias.shape} "
            f"do not match {n_classes} classes"
        )
    for array in (matrix, bias):
        if array.dtype != np.float32 or not _is_finite(array):
            raise ArtifactError(f"{name}: matrix and bias must be finite float32")


def _check_context(name: str, context: NDArray[np.float32], manifest: Manifest) -> None:
    specific = manifest.config.class_specific_context
    if context.dtype != np.float32 or context.ndim != (3 if specific else 2):
        raise ArtifactError(
            f"{name}: context is {context.dtype} of shape {context.shape}; expected "
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
    if not context.size:
        raise ArtifactError(f"{name}: context of shape {context.shape} is empty")
    if not _is_finite(context):
        raise ArtifactError(f"{name}: context has values that are not finite")


def _is_finite(array: NDArray[np.float32]) -> bool:
    """Check both extremes, which allocates no copy; min and max propagate NaN."""
    return math.isfinite(array.min()) and math.isfinite(array.max())
