"""The text encoder that computes what all classes share only once.

In a causal tower the tokens [start] ctx_1 ... ctx_M see nothing behind them, so with a shared
context their hidden states are the same for every class. They are computed once per context; each
class's suffix (its words, ".", [end]) attends to their keys and values. The output and the gradient
are those of the plain path, to rounding. Further savings, also exact: in the last block only the
end tokens need queries and the MLP; the first block's queries, keys and values of the suffix do not
depend on the context and are kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dspt.text import OpenClipTextTower, causal_mask


def shares_prefix(tower: OpenClipTextTower) -> bool:
    """Whether `tower` is causal, made of standard blocks and read at its end token."""
    return tower.causal and tower.standard and tower.pool in ("argmax", "eos")


class SharedPrefixEncoder:
    """Class embeddings as a function of shared context vectors.

    start: (S, W) embeddings before the context; suffix: (C, L, W) embeddings behind it, padded
    behind each end token, which stands at `end` (C,), counted from the suffix's beginning;
    n_ctx: number of context vectors.
    """

    def __init__(
        self, tower: OpenClipTextTower, start: Tensor, suffix: Tensor, end: Tensor, n_ctx: int
    ) -> None:
        self._tower = tower
        self._blocks: list[Any] = tower.blocks
        first: Any = tower.blocks[0]
        self._heads: int = first.attn.num_heads
        self._end = end
        self._scale = torch.tensor([(tower.width // self._heads) ** -0.5, 1, 1], device=end.device)
        before, length = start.shape[0] + n_ctx, suffix.shape[1]
        with torch.no_grad():
            positions = tower.positions.to(tower.dtype)
            self._start = start.to(tower.dtype) + positions[: len(start)]
            self._positions = positions[len(start) : before]
            self._suffix = suffix.to(tower.dtype) + positions[before : before + length]
            self._first_qkv = self._qkv(self._blocks[0], self._suffix[None])
        self._prefix_mask = causal_mask(before, self._suffix)
        self._suffix_mask = causal_mask(length, self._suffix)

    def encode(self, context: Tensor) -> Tensor:
        """(R, M, W) -> (R, C, D), not normalised; differentiable."""
        runs = context.shape[0]
        context = context.to(self._start.dtype) + self._positions
        prefix = torch.cat([self._start.expand(runs, -1, -1), context], dim=1)
        suffix = self._suffix.expand(runs, -1, -1, -1)
        for i, block in enumerate(self._blocks[:-1]):
            qkv = self._first_qkv.expand(-1, runs, -1, -1, -1, -1) if i == 0 else None
            prefix, suffix = self._block(block, prefix, suffix, qkv)
        return self._tower.project(self._last_block(self._blocks[-1], prefix, suffix))

    def _block(
        self, block: Any, prefix: Tensor, suffix: Tensor, suffix_qkv: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """prefix (R, P, W) and suffix (R, C, L, W) through one residual block."""
        q, k, v = self._qkv(block, prefix).unbind(0)
        seen = _attend(q @ k.mT + self._prefix_mask, v)
        if suffix_qkv is None:
            suffix_qkv = self._qkv(block, suffix)
        sq, sk, sv = suffix_qkv.unbind(0)
        found = _attend_both(sq, k, v, sk, sv, self._suffix_mask)
        prefix = _finish(block, prefix, seen.transpose(1, 2).flatten(2))
        suffix = _finish(block, suffix, found.permute(0, 2, 3, 1, 4).flatten(3))
        return prefix, suffix

    def _last_block(self, block: Any, prefix: Tensor, suffix: Tensor) -> Tensor:
        """As `_block`, for the end tokens alone: (R, C, W)."""
        _, k, v = self._qkv(block, prefix).unbind(0)
        sq, sk, sv = self._qkv(block, suffix).unbind(0)
        classes = torch.arange(len(self._end), device=self._end.device)
        sq = sq[:, :, classes, self._end][:, :, :, None]
        mask = self._suffix_mask[self._end][:, None]
        found = _attend_both(sq, k, v, sk, sv, mask)
        return _finish(
            block, suffix[:, classes, self._end], found.squeeze(3).transpose(1, 2).flatten(2)
        )

    def _qkv(self, block: Any, x: Tensor) -> Tensor:
        """(R, ..., W) -> (3, R, H, ..., W / H): queries (already scaled), keys and values."""
        attn, heads = block.attn, self._heads
        qkv = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
        qkv = qkv.view(*x.shape[:-1], 3, heads, -1).movedim(-3, 0).movedim(-2, 2)
        scaled: Tensor = qkv * self._scale.to(qkv.dtype).view(3, *[1] * (qkv.ndim - 1))
        return scaled


def _attend(scores: Tensor, values: Tensor) -> Tensor:
    return scores.softmax(-1).to(values.dtype) @ values


def _attend_both(q: Tensor, k: Tensor, v: Tensor, sk: Tensor, sv: Tensor, mask: Tensor) -> Tensor:
    """Suffix queries (R, H, C, Q, d) over the prefix (R, H, P, d) and their own (R, H, C, L, d)."""
    shape, before = q.shape, k.shape[2]
    # All classes' queries meet the shared keys in one product.
    to_prefix = (q.flatten(2, 3) @ k.mT).view(*shape[:-1], before)
    weights = torch.cat([to_prefix, q @ sk.mT + mask], dim=-1).softmax(-1).to(v.dtype)
    from_prefix: Tensor = (weights[..., :before].flatten(2, 3) @ v).view(shape)
    return from_prefix + weights[..., before:] @ sv


def _finish(block: Any, x: Tensor, attended: Tensor) -> Tensor:
    attn = block.attn
    x = x + block.ls_1(F.linear(attended, attn.out_proj.weight, attn.out_proj.bias))
    out: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
    return out
