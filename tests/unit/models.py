"""Tuned models made up for a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from dspt.backbones.base import Backbone
from dspt.classifier.linear import LinearClassifier
from dspt.config import TuneConfig
from dspt.model.artifact import Manifest, TunedModel
from dspt.model.format import Artifact

CLASSES = [f"class {i}" for i in range(10)]
WORDS = [
    "cat",
    "dog",
    "fire truck",
    "bridge",
    "guitar",
    "red fox",
    "sunflower",
    "horse",
    "cup of coffee",
    "steam locomotive",
]


def manifest_values(**changes: Any) -> dict[str, Any]:
    return {
        "classes": CLASSES,
        "class_words": WORDS,
        "config": TuneConfig(n_ctx=16, ctx_init="random", lr=0.05, device="cpu"),
        "backbone_digest": "ab" * 32,
        "activation": "gelu",
        "dataset_sha256": "cd" * 32,
        "served": "tuned",
        "why": "Tuned: it does better.",
        "metrics": {"tuned": {"accuracy": 0.75, "per_class": {"class 0": None}}},
    } | changes


def tuned_model(context: torch.Tensor | None = None, **changes: Any) -> TunedModel:
    """A model with a context of 16 x 512, or the one given."""
    if context is None:
        context = torch.randn(16, 512, generator=torch.Generator().manual_seed(2)) * 0.02
    return TunedModel(context, Manifest(**manifest_values(**changes)))


def model_for(backbone: Backbone, **changes: Any) -> TunedModel:
    """A model of 4 context vectors that fits `backbone`."""
    width = backbone.text_tower.width
    context = torch.randn(4, width, generator=torch.Generator().manual_seed(2))
    config = TuneConfig(n_ctx=4, ctx_init="a photo of a", lr=0.05, device="cpu")
    return tuned_model(
        context * backbone.text_tower.embedding_std,
        **({"config": config, "backbone_digest": backbone.digest} | changes),
    )


def artifact_of(model: TunedModel) -> Artifact:
    """The model as it is read from its file."""
    context, means = model.context.numpy(), model.class_means
    means = None if means is None else means.numpy()
    if model.blend is None:
        return Artifact(context, model.manifest, class_means=means)
    matrix, bias = model.blend.matrix.numpy(), model.blend.bias.numpy()
    return Artifact(context, model.manifest, matrix, bias, means)


def write(path: Path, tensors: dict[str, Tensor], manifest: Any) -> None:
    """Write an artefact with the given tensors and manifest, without any check."""
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    save_file(tensors, path, metadata={"manifest": text})


def raw_manifest(**changes: Any) -> dict[str, Any]:
    """A good manifest as JSON, with changes that the model class would refuse."""
    found: dict[str, Any] = json.loads(Manifest(**manifest_values()).model_dump_json())
    return found | changes


def blend(dim: int = 512) -> LinearClassifier:
    """A classifier of the ten classes that is no prompt's."""
    generator = torch.Generator().manual_seed(5)
    return LinearClassifier(
        10 * torch.randn(10, dim, generator=generator), torch.randn(10, generator=generator)
    )
