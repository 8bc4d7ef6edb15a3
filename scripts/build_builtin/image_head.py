"""The image head, and the target embedding of a sentence in the same space.

No image is used: everything follows from EfficientNet-Lite0's weights, the names of its classes
and the teacher.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dspt.backbones.builtin import files
from dspt.backbones.builtin.model import VISUAL_DIM, ImageTower
from scripts.build_builtin import words
from scripts.build_builtin.teacher import Teacher

CLASS_TEMPLATES = ("{}", "a photo of a {}", "a close-up photo of a {}", "a picture of the {}")
SIMILARITY_TEMPERATURE = 0.06
"""Temperature of the softmax that maps a sentence to a mixture of ImageNet classes."""


@dataclass(frozen=True)
class Targets:
    """From the teacher's embeddings to the joint space of `ImageHead`."""

    text_mean: Tensor
    """(384,)"""
    class_text_embeddings: Tensor
    """(1000, 384), minus `text_mean`."""
    class_directions: Tensor
    """(1000, 128): the classifier's centred weights in `feature_directions`."""

    def __call__(self, teacher: Tensor) -> Tensor:
        """(N, 384) -> (N, 512), unit length.

        [ n(e - mean), n(softmax(n(e - mean) n(Ec)' / 0.06) Wc P) ] / sqrt 2
        """
        semantic = F.normalize(teacher - self.text_mean, dim=1)
        classes = F.normalize(self.class_text_embeddings, dim=1)
        visual = torch.cat(
            [
                ((part @ classes.T) / SIMILARITY_TEMPERATURE).softmax(1) @ self.class_directions
                for part in torch.split(semantic, 20_000)
            ]
        )
        found: Tensor = torch.cat([semantic, F.normalize(visual, dim=1)], dim=1) * math.sqrt(0.5)
        return found


def build_image_head(teacher: Teacher) -> tuple[dict[str, Tensor], Targets]:
    """Tensors of image_head.safetensors, and the text targets that belong to them."""
    embeddings = _class_embeddings(teacher)
    mean = embeddings.mean(0)

    trunk = ImageTower().trunk
    path = files.efficientnet_file()
    files.load_by_order(trunk, files.read_efficientnet(path)[1], path.name)
    with torch.no_grad():
        weight = trunk.classifier.weight - trunk.classifier.weight.mean(0)
        directions = torch.linalg.svd(weight, full_matrices=False)[2][:VISUAL_DIM].T
        # The sign of a singular vector is arbitrary; fix it so that every machine agrees.
        strongest = directions.abs().argmax(0)
        directions = directions * directions[strongest, torch.arange(VISUAL_DIM)].sign()
        norm = trunk.bn2
        mean_feature = _mean_relu6(norm.bias, norm.weight.abs())

    tensors = {
        "class_text_embeddings": (embeddings - mean).half(),
        "feature_directions": directions.half().contiguous(),
        "mean_feature": mean_feature,
        "text_mean": mean,
    }
    return tensors, Targets(mean, embeddings - mean, weight @ directions)


def _class_embeddings(teacher: Teacher) -> Tensor:
    """(1000, 384) unit length: the mean over each class's words and four templates."""
    classes = words.imagenet_1k()
    texts = [t.format(w) for lemmas in classes for w in lemmas for t in CLASS_TEMPLATES]
    owner = torch.tensor(
        [i for i, lemmas in enumerate(classes) for _ in lemmas for _ in CLASS_TEMPLATES]
    )
    embedded = teacher.embed(texts, "ImageNet classes")
    sums = torch.zeros(len(classes), embedded.shape[1]).index_add_(0, owner, embedded)
    return F.normalize(sums, dim=1)


def _mean_relu6(mean: Tensor, std: Tensor) -> Tensor:
    """E[min(max(x, 0), 6)] of x ~ N(mean, std²): the mean of features according to batch norm."""
    at = torch.linspace(-4, 4, 2001)
    density = torch.exp(-at * at / 2)
    values = (at[:, None] * std + mean).clamp(0, 6)
    return (values * (density / density.sum())[:, None]).sum(0)
