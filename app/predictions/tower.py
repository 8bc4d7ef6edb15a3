"""What an image tower does for predictions, whatever runs it. For type checkers only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Crop = NDArray[np.uint8]
    Features = NDArray[np.float32]


class Tower(Protocol):
    """An image tower: `Backbone` in torch, `CompiledTower` without it, or `ChildTower`."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def engine(self) -> str: ...
    @property
    def precision(self) -> str:
        """`float32`, or `float16` on a GPU."""

    @property
    def on_cpu(self) -> bool: ...
    @property
    def embed_dim(self) -> int: ...
    @property
    def feature_dim(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def read_side(self) -> int:
        """Pixels that the shorter side of a photo needs: `decode_image(data, side=...)`."""

    def crop(self, image: Image.Image) -> Crop:
        """Resize and crop an RGB image: -> (H, W, 3)."""

    def encode(self, crops: Crop) -> Features:
        """Encode crops: (B, H, W, 3) -> (B, F), as `Backbone.encode_image`."""
