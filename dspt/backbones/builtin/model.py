"""The built-in vision-language model, with the interface of open_clip's CustomTextCLIP.

A dual encoder with a locked image tower (LiT, Zhai et al. 2022, arXiv 2111.07991) whose image
embedding is half a mixture of class-name embeddings (ConSE, Norouzi et al. 2014, arXiv 1312.5650).
"""

from __future__ import annotations

import math
from typing import cast

import timm
import torch
from open_clip.transformer import TextTransformer
from timm.models.efficientnet import EfficientNet
from torch import Tensor, nn
from torch.nn import functional as F

EMBED_DIM = 512
SEMANTIC_DIM = 384
VISUAL_DIM = EMBED_DIM - SEMANTIC_DIM
IMAGE_SIZE = 224
N_CLASSES = 1000
TEMPERATURE = 1.5
"""Divides the ImageNet logits before their softmax."""
LOGIT_SCALE = 30.0
"""Factor on cosine similarities; CLIP's 100 is too sharp for this model."""


class ImageHead(nn.Module):
    """Maps EfficientNet-Lite0's pooled features and ImageNet logits to the joint embedding.

    [ n(softmax(logits / 1.5) @ class_text_embeddings), n((f - mean_feature) @ feature_directions) ]
    / sqrt 2, where n divides by the L2 norm: the expected sentence embedding over the ImageNet
    classes, then the features in the principal directions of the classifier's weights.
    """

    class_text_embeddings: Tensor
    feature_directions: Tensor
    mean_feature: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("class_text_embeddings", torch.zeros(N_CLASSES, SEMANTIC_DIM))
        self.register_buffer("feature_directions", torch.zeros(n_features, VISUAL_DIM))
        self.register_buffer("mean_feature", torch.zeros(n_features))

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return the embedding: (B, 1280) and (B, 1000) -> (B, 512), unit length."""
        semantic = (logits / TEMPERATURE).softmax(-1) @ self.class_text_embeddings
        visual = (features - self.mean_feature) @ self.feature_directions
        halves = F.normalize(semantic, dim=-1), F.normalize(visual, dim=-1)
        embedding: Tensor = torch.cat(halves, dim=-1) * math.sqrt(0.5)
        return embedding


class ImageTower(nn.Module):
    """EfficientNet-Lite0 and the head: the embedding, and the pooled features it is made of.

    (B, 3, 224, 224) in [-1, 1] -> (B, 512 + 1280).
    """

    def __init__(self) -> None:
        super().__init__()
        trunk = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        self.trunk = cast(EfficientNet, trunk)
        self.head = ImageHead(self.trunk.num_features)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.trunk.forward_head(self.trunk.forward_features(pixels), pre_logits=True)
        embedding: Tensor = self.head(features, self.trunk.classifier(features))
        return torch.cat([embedding, features], dim=1)


def text_tower() -> TextTransformer:
    """Return open_clip's causal text transformer in the size of this model, with random weights."""
    return TextTransformer(
        context_length=77,
        vocab_size=49408,
        width=256,
        heads=4,
        layers=4,
        output_dim=EMBED_DIM,
    )


class BuiltinModel(nn.Module):
    """A model with `visual`, `text` and `logit_scale`, like open_clip's models."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = ImageTower()
        self.text = text_tower()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(LOGIT_SCALE)))

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Encode images: (B, 3, 224, 224) -> (B, 512)."""
        features: Tensor = self.visual(image)[:, :EMBED_DIM]
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Encode token ids: (B, 77) -> (B, 512)."""
        features: Tensor = self.text(text)
        return F.normalize(features, dim=-1) if normalize else features
