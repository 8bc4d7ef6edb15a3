"""A frozen vision-language model as the tuner sees it: an image tower, a text tower, a scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

CLIP_EMBEDDING_STD = 0.015
"""Size of CLIP's token embeddings, which CoOp's rates and deviations are stated for."""


class Tokenizer(Protocol):
    """Text to token ids, without padding, in the shape [start] words [end]."""

    start: tuple[int, ...]
    """Ids put before the words (CLIP: one; SigLIP: none)."""
    end: tuple[int, ...]
    """Ids put behind the words."""

    def encode(self, text: str) -> list[int]:
        """Ids of the words alone, without start and end."""


class TextTower(Protocol):
    """A frozen text tower that can be entered behind its token embedding."""

    width: int
    """Size of a token embedding."""
    context_length: int
    """Longest sequence, start and end tokens included."""
    causal: bool
    """Whether a token sees only those before it; then tokens behind the end token do not matter."""
    embedding_std: float
    """Standard deviation of the token embeddings: the scale that context vectors live on."""

    @property
    def nbytes(self) -> int:
        """Memory of the weights."""

    def embed(self, ids: Tensor) -> Tensor:
        """Token embeddings, without positions. (..., L) int64 -> (..., L, width)."""

    def pad(self, ids: list[int]) -> list[int]:
        """Pad one prompt to what the tower needs: the context length, or nothing if causal."""

    def encode(self, embeddings: Tensor, end: Tensor) -> Tensor:
        """Run the tower on token embeddings; differentiable in them.

        embeddings: (B, L, width), positions not added; end: (B,) index of each end token.
        Returns (B, D), not normalised.
        """

    def bytes_per_token(self, length: int) -> int:
        """Estimate what autograd keeps of one token of `encode` in sequences of `length`."""


class Preprocess(Protocol):
    """A model's own resize, crop and normalisation: at once, or in two steps."""

    def __call__(self, image: Image.Image) -> Tensor:
        """RGB image -> (3, H, W) float32."""

    def crop(self, image: Image.Image) -> Tensor:
        """RGB image -> (H, W, 3) uint8: resized and cropped."""

    def normalised(self, crops: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) float32."""


def weight_bytes(*modules: nn.Module) -> int:
    """Memory of the parameters and buffers of `modules`."""
    return sum(
        tensor.nbytes for each in modules for tensor in (*each.parameters(), *each.buffers())
    )


@dataclass(frozen=True)
class Backbone:
    """Towers, tokenizer and preprocessing of one set of weights. Nothing in it is trained."""

    name: str
    """What the user called it: `builtin`, `ViT-B-16/openai`, `local-dir:...`."""
    digest: str
    """SHA-256 (hex) over the weights and whatever else decides the embeddings."""
    image_tower: nn.Module
    """(B, 3, H, W) -> (B, D), not normalised."""
    text_tower: TextTower
    tokenizer: Tokenizer
    preprocess: Preprocess
    augment: Callable[[Image.Image, torch.Generator], Tensor]
    """The same with a random resized crop and a random flip drawn from the generator."""
    logit_scale: float
    """exp(logit_scale): the factor on cosine similarities (100 in released CLIPs)."""
    embed_dim: int
    image_size: int
    activation: str
    """`gelu` or `quickgelu`; a mismatch costs accuracy without an error, so artefacts record it."""
    engine: str = "torch"
    """What runs the image tower: `torch` or `openvino`. Its features are the same."""
    compiled_bytes: int | None = None
    """Memory of an image tower's weights that are not torch's."""

    @property
    def device(self) -> torch.device:
        """Where the towers are."""
        return next(self.image_tower.parameters()).device

    @property
    def nbytes(self) -> int:
        """Memory of the weights of both towers."""
        image = self.compiled_bytes
        if image is None:
            image = weight_bytes(self.image_tower)
        return image + self.text_tower.nbytes

    def encode_crops(self, crops: Tensor) -> Tensor:
        """(B, H, W, 3) uint8, as `preprocess.crop` gives them -> (B, D), as `encode_image`.

        They are a quarter of the bytes, and normalised together in a third of the time.
        """
        return self.encode_image(self.preprocess.normalised(crops.to(self.device)))

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) on `device` -> (B, D), unit length, float32."""
        with torch.inference_mode():
            return F.normalize(self.image_tower(pixels).float(), dim=-1)
