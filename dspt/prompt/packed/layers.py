"""The blocks of a frozen causal tower over packed sequences that share a prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dspt.backbones.frozen_block import FrozenBlock, MlpTape, NormTape
from dspt.prompt.packed.ragged import (
    AttentionGradient,
    Bucket,
    Parts,
    attend,
    attend_backward,
    join_heads,
    split_heads,
)

KeysValues = tuple[Tensor, Tensor]
"""Of one block: (R H, P, d) each, for R runs, H heads and P tokens."""


@dataclass(frozen=True)
class _LayerTape:
    parts: list[Parts]
    weights: list[Tensor]
    norm: NormTape | None
    mlp: MlpTape | None


@dataclass(frozen=True)
class Tape:
    """What `PackedLayers.backward` needs of a forward pass."""

    prefix: Sequence[KeysValues]
    layers: list[_LayerTape]


class PackedLayers:
    """All blocks, over R runs of the classes in `buckets`.

    A bucket's tokens are R C L consecutive rows; buckets stand one behind the other. Each class
    sees the prefix and, causally, itself. With `ends`, the index in its own sequence of each
    class's end token (one list per bucket), the last block yields these tokens alone; without,
    only its keys and values are computed.
    """

    def __init__(
        self,
        blocks: Sequence[FrozenBlock],
        buckets: Sequence[Bucket],
        runs: int,
        device: torch.device,
        ends: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self._blocks, self.buckets, self._runs = blocks, buckets, runs
        self._heads = blocks[0].heads
        self._scale = float((blocks[0].width // self._heads) ** -0.5)
        masks = [_causal(bucket.length, device, blocks[0].stream) for bucket in buckets]
        self._masks = [mask.to(blocks[0].dtype) for mask in masks]
        self._sizes = [runs * bucket.tokens for bucket in buckets]
        self._ends: Tensor | None = None
        if ends is None:
            return
        rows, offset = [], 0
        for bucket, size, found in zip(buckets, self._sizes, ends, strict=True):
            first = offset + torch.arange(runs * len(bucket.classes)) * bucket.length
            rows.append(first + torch.tensor(found).repeat(runs))
            offset += size
        self._ends = torch.cat(rows).to(device)
        self._end_masks = [
            mask[torch.tensor(found, device=device)][:, None]
            for mask, found in zip(self._masks, ends, strict=True)
        ]
        self._end_sizes = [runs * len(bucket.classes) for bucket in buckets]

    def first_parts(self, x: Tensor) -> list[Parts]:
        """Queries, keys and values of the first block for one run's (T, W): `forward`'s `first`."""
        normed, _ = self._blocks[0].normed(x)
        sizes = [bucket.tokens for bucket in self.buckets]
        return self._parts(self._blocks[0].project(normed).split_with_sizes(sizes), runs=1)

    def forward(
        self, x: Tensor, prefix: Sequence[KeysValues], first: Sequence[Parts] | None = None
    ) -> tuple[Tensor | None, list[KeysValues], Tape]:
        """Tokens (T, W) through all blocks.

        Returns the end tokens (rows in the order of buckets, R C of each; None without `ends`),
        the keys and values of the first bucket's tokens in every block, and the tape. `first`:
        see `first_parts`; then x counts as a constant.
        """
        layers: list[_LayerTape] = []
        rows = None
        for i, (block, seen) in enumerate(zip(self._blocks, prefix, strict=True)):
            if i == len(self._blocks) - 1:
                rows, layer = self._last(block, x, seen)
            else:
                norm = None
                if i == 0 and first is not None:
                    parts = [_repeat(part, self._runs) for part in first]
                else:
                    normed, norm = block.normed(x)
                    parts = self._parts(
                        block.project(normed).split_with_sizes(self._sizes), self._runs
                    )
                attended, weights = self._attend(parts, seen, self._masks)
                x, mlp = block.finish(x, attended)
                layer = _LayerTape(parts, weights, norm, mlp)
            layers.append(layer)
        kept = [(layer.parts[0].k, layer.parts[0].v) for layer in layers]
        return rows, kept, Tape(prefix, layers)

    def _last(
        self, block: FrozenBlock, x: Tensor, seen: KeysValues
    ) -> tuple[Tensor | None, _LayerTape]:
        normed, norm = block.normed(x)
        both = block.project(normed, 1, 3).split_with_sizes(self._sizes)
        if self._ends is None:
            parts = [Parts(None, *self._split(kv, b, 2)) for kv, b in self._zip(both)]
            return None, _LayerTape(parts, [], norm, None)
        queries = block.project(normed[self._ends], 0, 1).split_with_sizes(self._end_sizes)
        parts = []
        for kv, q, bucket in zip(both, queries, self.buckets, strict=True):
            (asked,) = self._split(q, bucket, 1)
            parts.append(Parts(asked * self._scale, *self._split(kv, bucket, 2)))
        attended, weights = self._attend(parts, seen, self._end_masks)
        rows, mlp = block.finish(x[self._ends], attended)
        return rows, _LayerTape(parts, weights, norm, mlp)

    def backward(
        self,
        tape: Tape,
        rows: Tensor | None,
        kept: Sequence[KeysValues] | None = None,
        *,
        want_prefix: bool,
        want_input: bool,
    ) -> tuple[Tensor | None, list[KeysValues]]:
        """Gradients in x and in the prefix, of every block; the latter empty unless wanted.

        From the gradients in what `forward` returned: `rows`, or `kept` (changed in place by no
        one; for the first bucket, which must be the only one).
        """
        in_prefix: list[KeysValues] = []
        g = rows
        for i in reversed(range(len(self._blocks))):
            block, layer = self._blocks[i], tape.layers[i]
            want_own = want_input or i > 0
            attended: Tensor | None = None
            if layer.mlp is not None:
                assert g is not None
                g, attended = block.finish_backward(g, layer.mlp)
            last = i == len(self._blocks) - 1
            found = self._attend_backward(layer, tape.prefix[i], attended, want_own, want_prefix)
            if want_prefix:
                in_prefix.append(_sum_prefix(found))
            if not want_own:
                return None, in_prefix[::-1]
            if kept is not None:
                found = [_add_kept(found[0], kept[i])]
            g = self._project_backward(block, layer, found, g, last)
        return g, in_prefix[::-1]

    def _project_backward(
        self,
        block: FrozenBlock,
        layer: _LayerTape,
        found: list[AttentionGradient],
        g: Tensor | None,
        last: bool,
    ) -> Tensor:
        """From gradients in q, k, v, and in the residual beside them, to that in the block's x."""
        assert layer.norm is not None
        if not last:
            assert g is not None
            joined = [
                join_heads([_of(f.q) * self._scale, _of(f.k), _of(f.v)], self._runs) for f in found
            ]
            return g + block.normed_backward(block.project_backward(_cat(joined)), layer.norm)
        both = _cat([join_heads([_of(f.k), _of(f.v)], self._runs) for f in found])
        in_normed = block.project_backward(both, 1, 3)
        if self._ends is None:
            return block.normed_backward(in_normed, layer.norm)
        asked = _cat([join_heads([_of(f.q) * self._scale], self._runs) for f in found])
        in_normed.index_add_(0, self._ends, block.project_backward(asked, 0, 1))
        assert g is not None
        return block.normed_backward(in_normed, layer.norm).index_add_(0, self._ends, g)

    def _attend(
        self, parts: Sequence[Parts], seen: KeysValues, masks: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        joined, weights = [], []
        for part, bucket, mask in zip(parts, self.buckets, masks, strict=True):
            found, weight = attend(part, seen, mask, len(bucket.classes))
            joined.append(join_heads([found], self._runs))
            weights.append(weight)
        return _cat(joined), weights

    def _attend_backward(
        self,
        layer: _LayerTape,
        seen: KeysValues,
        gradient: Tensor | None,
        want_own: bool,
        want_prefix: bool,
    ) -> list[AttentionGradient]:
        if gradient is None:
            return [AttentionGradient(None, None, None, None) for _ in self.buckets]
        last = gradient.shape[0] != sum(self._sizes)
        sizes = self._end_sizes if last else self._sizes
        found = []
        for g, part, weight, bucket in zip(
            gradient.split_with_sizes(sizes), layer.parts, layer.weights, self.buckets, strict=True
        ):
            (split,) = self._split(g, bucket, 1)
            found.append(
                attend_backward(
                    split,
                    part,
                    seen,
                    weight,
                    len(bucket.classes),
                    want_own=want_own,
                    want_prefix=want_prefix,
                )
            )
        return found

    def _parts(self, qkv: Sequence[Tensor], runs: int) -> list[Parts]:
        found = []
        for x, bucket in self._zip(qkv):
            q, k, v = split_heads(x, runs, len(bucket.classes), self._heads, 3)
            found.append(Parts(q.mul_(self._scale), k, v))
        return found

    def _split(self, x: Tensor, bucket: Bucket, n: int) -> list[Tensor]:
        return split_heads(x, self._runs, len(bucket.classes), self._heads, n)

    def _zip(self, tensors: Sequence[Tensor]) -> list[tuple[Tensor, Bucket]]:
        return list(zip(tensors, self.buckets, strict=True))


def _causal(length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.full((length, length), float("-inf"), dtype=dtype, device=device).triu(1)


def _repeat(parts: Parts, runs: int) -> Parts:
    """One run's parts for `runs` runs."""
    if runs == 1:
        return parts
    assert parts.q is not None
    return Parts(*(x.repeat(runs, 1, 1) for x in (parts.q, parts.k, parts.v)))


def _sum_prefix(found: Sequence[AttentionGradient]) -> KeysValues:
    keys = [f.prefix[0] for f in found if f.prefix is not None]
    values = [f.prefix[1] for f in found if f.prefix is not None]
    return sum(keys[1:], keys[0]), sum(values[1:], values[0])


def _add_kept(found: AttentionGradient, kept: KeysValues) -> AttentionGradient:
    if found.k is None or found.v is None:
        return AttentionGradient(None, *kept, None)
    return AttentionGradient(found.q, found.k + kept[0], found.v + kept[1], found.prefix)


def _of(x: Tensor | None) -> Tensor:
    assert x is not None
    return x


def _cat(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
