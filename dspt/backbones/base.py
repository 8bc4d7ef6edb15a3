"""A frozen vision-language model: image tower, text tower, tokenizer, preprocessing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from dspt.kit.device import tf32_allowed

if TYPE_CHECKING:  # open_clip takes seconds to import
    from dspt.backbones.text_tower import OpenClipTextTower
    from dspt.backbones.transforms import Preprocess

CLIP_EMBEDDING_STD = 0.015
"""Standard deviation of CLIP's token embeddings. CoOp's learning rate and init are for this."""


class Tokenizer(Protocol):
    """Converts text to token ids without padding: [start] words [end]."""

    start: tuple[int, ...]
    """Ids before the words (CLIP: one; SigLIP: none)."""
    end: tuple[int, ...]
    """Ids after the words."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of the words, without start and end."""


def weight_bytes(*modules: nn.Module) -> int:
    """Return the size of the parameters and buffers of `modules` in bytes."""
    return sum(
        tensor.nbytes for each in modules for tensor in (*each.parameters(), *each.buffers())
    )


@dataclass(frozen=True)
class Backbone:
    """Towers, tokenizer and preprocessing of one set of weights. All weights are frozen."""

    name: str
    """Name it was loaded by: `builtin`, `ViT-B-16/openai`, `local-dir:...`."""
    digest: str
    """SHA-256 (hex) over the weights and everything else that affects the embeddings."""
    image_tower: nn.Module
    """(B, 3, H, W) -> (B, F), not normalised; see `feature_dim`."""
    text_tower: OpenClipTextTower
    tokenizer: Tokenizer
    preprocess: Preprocess
    augment: Callable[[Image.Image, torch.Generator], Tensor]
    """As `crop`, with a random resized crop and a random flip drawn from the generator."""
    logit_scale: float
    """Factor on cosine similarities, exp of the trained parameter (100 in published CLIPs)."""
    embed_dim: int
    """D, the width of the joint space of images and texts."""
    image_size: int
    activation: str
    """`gelu` or `quickgelu`. A mismatch lowers accuracy without an error, so models record it."""
    penultimate_dim: int = 0
    """D', the width of the features from which the image tower projects the embedding; 0 if it
    does not return them."""
    cpu_images: int | None = None
    """Images that a CPU sends through the image tower together; None: all that it is given."""

    precision: Literal["float32", "float16"] = "float32"
    """Arithmetic of the image tower; see `dspt.backbones.half`."""

    engine = "torch"
    """Library that runs the image tower; see `dspt.backbones.compiled` for the other one."""

    @property
    def device(self) -> torch.device:
        """Device of the towers."""
        return next(self.image_tower.parameters()).device

    @property
    def feature_dim(self) -> int:
        """F = D + D', the width of image features: the embedding, then the penultimate features."""
        return self.embed_dim + self.penultimate_dim

    @property
    def nbytes(self) -> int:
        """Size of the weights of both towers in bytes."""
        return weight_bytes(self.image_tower) + self.text_tower.nbytes

    # As CompiledTower has them, in numpy.

    @property
    def on_cpu(self) -> bool:
        """Whether the towers run on the CPU."""
        return self.device.type == "cpu"

    @property
    def read_side(self) -> int:
        """Pixels that the shorter side of a photo needs: `decode_image(data, side=...)`."""
        return self.preprocess.read_side

    def crop(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop an RGB image: -> (H, W, 3)."""
        return self.preprocess.crop(image).numpy()

    def encode(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode crops: (B, H, W, 3) -> (B, F), as `encode_image`."""
        return self.encode_crops(torch.from_numpy(crops)).cpu().numpy()

    def encode_crops(self, crops: Tensor) -> Tensor:
        """Encode crops from `preprocess.crop`: (B, H, W, 3) uint8 -> (B, F), as `encode_image`.

        Crops take a quarter of the bytes of pixels, and normalising a batch takes a third of the
        time.
        """
        if self.device.type == "cuda" and crops.device.type == "cpu" and torch.cuda.is_available():
            crops = crops.pin_memory()  # so that the copy need not be waited for
        crops = crops.to(self.device, non_blocking=True)
        return self.encode_image(self.preprocess.normalised(crops))

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Encode pixels on `device`: (B, 3, H, W) -> (B, F), float32, both parts of unit length."""
        together = self.cpu_images if self.on_cpu else None
        parts = torch.split(pixels, together) if together else (pixels,)
        with torch.inference_mode(), tf32_allowed(self.device):
            features = torch.cat([self.image_tower(part).float() for part in parts])
            return unit_features(features, self.embed_dim)


def unit_features(features: Tensor, embed_dim: int) -> Tensor:
    """Scale both parts of image features to unit length: the first `embed_dim` columns, the rest.

    (B, F) -> (B, F). The class means need the penultimate features, which hold more of an image
    than its embedding; zero-shot and the prompt need the embedding.
    """
    parts = features[..., :embed_dim], features[..., embed_dim:]
    return torch.cat([F.normalize(part, dim=-1) for part in parts], dim=-1)
