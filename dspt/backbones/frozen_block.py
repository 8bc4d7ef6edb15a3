"""A frozen residual block of a text tower, differentiable in its tokens only.

Autograd keeps the inputs of both norms, queries, keys, values, attention weights and the input of
the activation: two thirds of what it keeps of open_clip's own block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.transformer import LayerScale, QuickGELU
from torch import Tensor, nn
from torch.nn import functional as F

from dspt.kit.device import sent

KeysValues = Sequence[Tensor]
"""Of the tokens that all classes see: (R, H, P, d) each, for R runs, H heads and P tokens."""
_QUICK = 1.702  # QuickGELU(u) = u sigmoid(1.702 u) = silu(1.702 u) / 1.702
_HAS_ONEDNN = torch.backends.cpu.get_cpu_capability().startswith("AVX") and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)


def can_freeze(block: nn.Module) -> bool:
    """Return whether `FrozenBlock` supports every part of this standard block."""
    parts: Any = block
    names = [name for name, _ in parts.mlp.named_children()]
    return (
        names == ["c_fc", "gelu", "c_proj"]
        and type(parts.mlp.gelu) in (nn.GELU, QuickGELU)
        and all(type(scale) in (nn.Identity, LayerScale) for scale in (parts.ls_1, parts.ls_2))
        and all(
            isinstance(norm, nn.LayerNorm) and norm.elementwise_affine
            for norm in (parts.ln_1, parts.ln_2)
        )
    )


@dataclass(frozen=True)
class Layout:
    """Where the tokens of classes stand in (R, T, W): groups of C classes of L tokens each."""

    groups: list[tuple[int, int]]
    """(C, L) of each."""
    masks: list[Tensor]
    """(L, L) of each, 0 or -inf."""
    ends: Tensor
    """(sum of C,): index of each class's end token."""
    end_masks: list[Tensor]
    """(C, 1, L) of each."""

    @staticmethod
    def of(ends: Sequence[Sequence[int]], like: Tensor) -> Layout:
        """Return the layout of groups of classes, given the index of each class's end token."""
        at = [sent(torch.tensor(group), like.device) for group in ends]
        return Layout.gathered(at, [max(group) + 1 for group in ends], like)

    @staticmethod
    def gathered(ends: Sequence[Tensor], lengths: Sequence[int], like: Tensor) -> Layout:
        """As `of`, from the (C,) end tokens and the length of each group, on the device of `like`.

        Never waits for the GPU.
        """
        groups = [(len(group), length) for group, length in zip(ends, lengths, strict=True)]
        masks = [causal_mask(length, like) for length in lengths]
        at, rows = 0, []
        for (count, length), group in zip(groups, ends, strict=True):
            rows.append(at + torch.arange(count, device=group.device) * length + group)
            at += count * length
        end_masks = [mask[group][:, None] for mask, group in zip(masks, ends, strict=True)]
        return Layout(groups, masks, torch.cat(rows), end_masks)


class FrozenBlock:
    """x + ls_1(attn(ln_1(x))), then x + ls_2(mlp(ln_2(x))).

    The residual stream is float32 (or the tower's own type, if wider); matrix products are computed
    in `dtype`, to which the weights are cast once.
    """

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        parts: Any = block
        attn, fc = parts.attn, parts.mlp.c_fc
        self.heads: int = attn.num_heads
        self.width: int = attn.embed_dim
        self.mlp_width: int = fc.out_features
        self.dtype = dtype
        self.stream = torch.promote_types(torch.float32, attn.in_proj_weight.dtype)
        # SiLU is one kernel where QuickGELU is three: 1.702 goes into the norm before it and the
        # biases, and is divided out of the sum after it.
        quick = isinstance(parts.mlp.gelu, QuickGELU)
        self._quick = _QUICK if quick else 1.0
        approximate = getattr(parts.mlp.gelu, "approximate", "none")
        self._activation: Callable[[Tensor], Tensor] = (
            F.silu if quick else lambda x: F.gelu(x, approximate=approximate)
        )
        self._norm_1 = self._norm(parts.ln_1, 1.0)
        self._norm_2 = self._norm(parts.ln_2, self._quick)
        weight, bias = attn.in_proj_weight.detach().to(dtype), attn.in_proj_bias.detach().to(dtype)
        self._q = weight[: self.width], bias[: self.width]
        self._kv = weight[self.width :], bias[self.width :]
        self._out = _scaled(attn.out_proj, parts.ls_1, 1.0, dtype)
        self._fc = fc.weight.detach().to(dtype), (fc.bias.detach() * self._quick).to(dtype)
        self._proj = _scaled(parts.mlp.c_proj, parts.ls_2, self._quick, dtype)

    def __call__(
        self, x: Tensor, layout: Layout, seen: KeysValues | None = None, *, ends: bool = False
    ) -> Tensor:
        """Return the block's output for the tokens (R, T, W) of R runs.

        Each class attends to `seen` and, causally, to itself. ends: whether the end tokens alone
        are wanted, (R, C, W) in the order of the groups.
        """
        normed = self._normed(x)
        sizes = [count * length for count, length in layout.groups]
        kv = _linear(normed, *self._kv).split_with_sizes(sizes, 1)
        if ends:
            x, normed = (each.index_select(1, layout.ends) for each in (x, normed))
            sizes = [count for count, _ in layout.groups]
        queries = _linear(normed, *self._q).split_with_sizes(sizes, 1)
        masks = layout.end_masks if ends else layout.masks
        found = []
        for i, (count, _) in enumerate(layout.groups):
            (q,), (k, v) = self._split(queries[i], 1, count), self._split(kv[i], 2, count)
            y = attend(q * q.shape[-1] ** -0.5, k, v, masks[i], seen)
            found.append(y.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2))
        x = x + _linear(torch.cat(found, dim=1), *self._out)
        hidden = _linear(F.layer_norm(x, *self._norm_2).to(self.dtype), *self._fc)
        return torch.add(x, _linear(self._activation(hidden), *self._proj), alpha=1 / self._quick)

    def keys_values(self, x: Tensor) -> KeysValues:
        """Return the keys and values of tokens (R, P, W) that all classes see."""
        k, v = self._split(_linear(self._normed(x), *self._kv), 2, 1)
        return k.squeeze(2), v.squeeze(2)

    def _normed(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, *self._norm_1).to(self.dtype)

    def _split(self, x: Tensor, n: int, classes: int) -> tuple[Tensor, ...]:
        """(R, C L, n W) -> n times (R, H, C, L, d)."""
        runs, tokens, _ = x.shape
        apart = x.view(runs, classes, tokens // classes, n, self.heads, -1)
        return tuple(apart.permute(3, 0, 4, 1, 2, 5).contiguous().unbind(0))

    def _norm(self, norm: Any, factor: float) -> tuple[list[int], Tensor, Tensor, float]:
        weight, bias = (p.detach().to(self.stream) * factor for p in (norm.weight, norm.bias))
        return list(norm.normalized_shape), weight, bias, norm.eps


def causal_mask(length: int, like: Tensor) -> Tensor:
    """(L, L) with -inf above the diagonal and 0 elsewhere, of the dtype and device of `like`."""
    return torch.full((length, length), float("-inf"), dtype=like.dtype, device=like.device).triu(1)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, seen: KeysValues | None) -> Tensor:
    """Return the attention's output (R, H, C, Q, d), before the heads are joined.

    q: (R, H, C, Q, d), scaled; k, v: (R, H, C, L, d); mask: (Q, L) or (C, Q, L), 0 or -inf; seen:
    keys and values that all classes see. Weights are computed in float32 at least.
    """
    wide = torch.promote_types(torch.float32, q.dtype)
    scores = q @ k.mT + mask.to(q.dtype)
    if seen is None:
        return scores.softmax(-1, dtype=wide).to(q.dtype) @ v
    # The queries of all classes meet the shared keys in one product.
    shared = (q.flatten(2, 3) @ seen[0].mT).view(*q.shape[:4], -1)
    weights = torch.cat([shared, scores], dim=-1).softmax(-1, dtype=wide).to(q.dtype)
    to_shared, to_own = weights.split_with_sizes([shared.shape[-1], scores.shape[-1]], dim=-1)
    return to_own @ v + (to_shared.flatten(2, 3) @ seen[1]).view_as(q)


def _scaled(linear: Any, scale: Any, factor: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight and bias with the layer scale after them multiplied in, the bias by `factor` too."""
    weight, bias = linear.weight.detach(), linear.bias.detach()
    if isinstance(scale, LayerScale):
        gamma = scale.gamma.detach()
        weight, bias = weight * gamma[:, None], bias * gamma
    return weight.to(dtype), (bias * factor).to(dtype)


class _OneDnnLinear(torch.autograd.Function):
    """x weight^T + bias by oneDNN, differentiable in x.

    In float32 on a CPU torch calls MKL, which runs AMD processors at half speed: on one core of a
    Zen 5 EPYC, 400 x 512 by 512 x 2048, MKL does 0.094 and oneDNN 0.208 TFLOP/s.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _OneDnnLinear.forward(ctx, gradient, ctx.weight.t(), None), None, None


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if _HAS_ONEDNN and x.device.type == "cpu" and x.dtype == torch.float32:
        found: Tensor = _OneDnnLinear.apply(x, weight, bias)
        return found
    return F.linear(x, weight, bias)
