"""Image towers that return the features before their last projection, too.

CLIP's authors fit linear probes to these features (Radford et al., ICML 2021, appendix A.3): the
projection to the joint space drops what no caption mentions.
"""

from __future__ import annotations

import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F


def with_penultimate(visual: nn.Module) -> tuple[nn.Module, int]:
    """Return the tower with penultimate features, (B, D + D'), and D'.

    Takes the last projection out of `visual`. A tower of another kind is returned as it is, with 0:
    timm's towers mostly have no projection.
    """
    if isinstance(visual, ModifiedResNet):
        pool = visual.attnpool
        visual.attnpool = _MeanQueryPool(pool)
        return _ProjectedTower(visual, pool.c_proj), pool.c_proj.in_features
    if (
        isinstance(visual, VisionTransformer)
        and isinstance(visual.proj, nn.Parameter)
        and not visual.output_tokens
    ):
        width, embed_dim = visual.proj.shape
        projection = nn.Linear(width, embed_dim, bias=False, device="meta")
        projection.weight = nn.Parameter(visual.proj.detach().T, requires_grad=False)
        visual.proj = None
        return _ProjectedTower(visual, projection), width
    return visual, 0


class _ProjectedTower(nn.Module):
    """(B, 3, H, W) -> (B, D + D'): the embedding, and the features that it is projected from."""

    def __init__(self, trunk: nn.Module, projection: nn.Linear) -> None:
        super().__init__()
        self.trunk, self.projection = trunk, projection
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.trunk(pixels)
        return torch.cat([self.projection(features), features], dim=1)


class _MeanQueryPool(nn.Module):
    """open_clip's attention pooling of a ResNet, without its output projection.

    Only the mean token is used, so only its query is computed.
    """

    def __init__(self, pool: AttentionPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, maps: Tensor) -> Tensor:
        """Pool feature maps: (B, D', H, W) -> (B, D')."""
        pool = self.pool
        tokens = maps.flatten(2).mT
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1)
        tokens = tokens + pool.positional_embedding
        query, key, value = (
            part.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
            for part in (pool.q_proj(tokens[:, :1]), pool.k_proj(tokens), pool.v_proj(tokens))
        )
        return F.scaled_dot_product_attention(query, key, value).flatten(1)
