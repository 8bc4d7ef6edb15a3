"""The text encoder that computes what all classes share only once.

In a causal tower the tokens [start] ctx_1 ... ctx_M see nothing behind them, so with a shared
context their hidden states are the same for every class. They are computed once per context; each
class's suffix (its words, ".", [end]) attends to their keys and values. Contexts of each class's
own share the start token. The output and the gradient are those of the plain path, to rounding.

Further savings, all exact: the suffixes are packed, so that a step costs by the sum of their
lengths; nothing is computed behind an end token; in the last block only the end tokens need
queries and the MLP; the start token's keys and values never change, nor do the first block's
queries, keys and values of the suffixes; the weights are frozen, so their gradients are not
computed, nor is kept what they would need. What does not fit the memory budget is computed again
in the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dspt.backbones.frozen_block import FrozenBlock, can_freeze
from dspt.backbones.text_tower import OpenClipTextTower
from dspt.prompt.packed.layers import KeysValues, PackedLayers, Tape
from dspt.prompt.packed.ragged import Bucket, Parts, group_buckets, make_buckets

MEMORY_BUDGET = 2 << 30
"""Bytes that a step keeps for its backward pass; beyond, it computes again."""
_CHUNK_TOKENS = {"cpu": 2048, "cuda": 1 << 16}
"""Tokens that go through the tower together, all runs counted: as many as the caches hold."""
_BUCKET_OVERHEAD = {"cpu": 1e8, "cuda": 1e10}
"""What the kernels of one more bucket cost, in floating point operations done meanwhile."""


def shares_prefix(tower: OpenClipTextTower) -> bool:
    """Whether `tower` is causal, made of standard blocks and read at its end token."""
    return (
        tower.causal
        and tower.standard
        and tower.pool in ("argmax", "eos")
        and all(can_freeze(block) for block in tower.blocks)
    )


@dataclass(frozen=True)
class _Chunk:
    """Classes that go through the tower together."""

    layers: PackedLayers
    classes: list[Tensor]
    """Of each bucket, as indices on the device."""
    suffixes: list[Tensor]
    """(C, L, W) of each bucket, positions added."""
    first: list[Parts] | None
    """First block of the suffixes, where that does not depend on the context."""
    kept: bool
    """Whether what the backward pass needs is kept; else it is computed again."""


@dataclass(frozen=True)
class _Plan:
    """How R contexts are encoded in one arithmetic."""

    start: list[KeysValues]
    """Of each block, for all runs."""
    prefix: PackedLayers | None
    chunks: list[_Chunk]
    order: Tensor
    """(C,): where each class stands among the rows of the chunks."""


@dataclass(frozen=True)
class _Tape:
    plan: _Plan
    context: Tensor
    prefix: Tape | None
    seen: list[KeysValues]
    chunks: list[Tape | None]


class SharedPrefixEncoder:
    """Class embeddings as a function of context vectors.

    start: (S, W) embeddings before the context; suffix: (C, L, W) embeddings behind it, padded
    behind each end token, which stands at `end` (C,), counted from the suffix's beginning;
    n_ctx: number of context vectors; class_specific: whether each class has its own; memory: bytes
    that may be kept for the backward pass.
    """

    def __init__(
        self,
        tower: OpenClipTextTower,
        start: Tensor,
        suffix: Tensor,
        end: Tensor,
        n_ctx: int,
        *,
        class_specific: bool = False,
        memory: int = MEMORY_BUDGET,
    ) -> None:
        self._tower, self._n_ctx, self._class_specific = tower, n_ctx, class_specific
        self._ends: list[int] = end.tolist()
        self._memory = memory
        stream = torch.promote_types(torch.float32, tower.dtype)
        before = start.shape[0] + n_ctx
        with torch.inference_mode(False), torch.no_grad():
            positions = tower.positions.to(stream)
            self._start = start.to(stream) + positions[: len(start)]
            self._positions = positions[len(start) : before].clone()
            self._suffix = suffix.to(stream) + positions[before : before + suffix.shape[1]]
        self._plans: dict[tuple[int, torch.dtype], _Plan] = {}

    def encode(self, context: Tensor) -> Tensor:
        """(R, M, W), or (R, C, M, W) if class-specific -> (R, C, D), not normalised.

        Differentiable in `context`, once. Matrix products are in autocast's type where it is on.
        """
        device, dtype = context.device.type, self._tower.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        if torch.is_grad_enabled() and context.requires_grad:
            rows: Tensor = _Encode.apply(context, self, dtype)
        else:
            rows, _ = self._forward(context, dtype, keep=False)
        return self._tower.project(rows.to(self._tower.dtype))

    def _forward(
        self, context: Tensor, dtype: torch.dtype, *, keep: bool
    ) -> tuple[Tensor, _Tape | None]:
        """End tokens (R, C, W) behind the last block."""
        runs = context.shape[0]
        with torch.no_grad(), torch.autocast(context.device.type, enabled=False):
            plan = self._plan(runs, dtype)
            x = context.to(self._suffix.dtype) + self._positions
            prefix_tape, seen = None, plan.start
            if plan.prefix is not None:
                _, own, prefix_tape = plan.prefix.forward(x.flatten(0, 1), plan.start)
                seen = [_join(start, kv) for start, kv in zip(plan.start, own, strict=True)]
            rows, tapes = [], []
            for chunk in plan.chunks:
                found, _, tape = chunk.layers.forward(self._tokens(chunk, x), seen, chunk.first)
                assert found is not None
                rows += _by_run(found, chunk.layers.buckets, runs)
                tapes.append(tape if keep and chunk.kept else None)
            together = torch.cat(rows, dim=1)[:, plan.order]
            return together, _Tape(plan, x, prefix_tape, seen, tapes) if keep else None

    def _backward(self, tape: _Tape, gradient: Tensor) -> Tensor:
        """Gradient in the context from that in the end tokens."""
        plan, x = tape.plan, tape.context
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            in_seen: list[KeysValues] = []
            in_context = torch.zeros_like(x)
            # The rows as they left the chunks.
            sorted_rows = torch.empty_like(gradient)
            sorted_rows[:, plan.order] = gradient
            at = 0
            for chunk, kept in zip(plan.chunks, tape.chunks, strict=True):
                layers = chunk.layers
                if kept is None:
                    _, _, kept = layers.forward(self._tokens(chunk, x), tape.seen, chunk.first)
                rows = []
                for bucket in layers.buckets:
                    rows.append(sorted_rows[:, at : at + len(bucket.classes)].flatten(0, 1))
                    at += len(bucket.classes)
                in_tokens, found = layers.backward(
                    kept,
                    torch.cat(rows),
                    want_prefix=not self._class_specific,
                    want_input=self._class_specific,
                )
                in_seen = _add(in_seen, found)
                if in_tokens is not None:
                    self._to_context(chunk, in_tokens, in_context)
            if plan.prefix is None:
                return in_context
            assert tape.prefix is not None
            behind = [(k[:, -self._n_ctx :], v[:, -self._n_ctx :]) for k, v in in_seen]
            in_x, _ = plan.prefix.backward(
                tape.prefix, None, behind, want_prefix=False, want_input=True
            )
            assert in_x is not None
            return in_x.view_as(x)

    def _tokens(self, chunk: _Chunk, context: Tensor) -> Tensor:
        """The packed sequences of a chunk, for all runs: (T, W)."""
        runs = len(context)
        parts = []
        for classes, suffix in zip(chunk.classes, chunk.suffixes, strict=True):
            part = suffix.expand(runs, -1, -1, -1)
            if self._class_specific:
                part = torch.cat([context[:, classes], part], dim=2)
            parts.append(part.flatten(0, 2))
        return torch.cat(parts)

    def _to_context(self, chunk: _Chunk, in_tokens: Tensor, out: Tensor) -> None:
        """Move the context's share of a gradient in packed sequences into `out` (R, C, M, W)."""
        runs, buckets = len(out), chunk.layers.buckets
        parts = in_tokens.split_with_sizes([runs * bucket.tokens for bucket in buckets])
        for bucket, classes, part in zip(buckets, chunk.classes, parts, strict=True):
            own = part.view(runs, len(classes), bucket.length, -1)[:, :, : self._n_ctx]
            out.index_copy_(1, classes, own)

    def _plan(self, runs: int, dtype: torch.dtype) -> _Plan:
        key = (runs, dtype)
        if key not in self._plans:
            # Tensors made in inference mode could not take part in training later.
            with torch.inference_mode(False), torch.no_grad():
                self._plans[key] = self._make_plan(runs, dtype)
        return self._plans[key]

    def _make_plan(self, runs: int, dtype: torch.dtype) -> _Plan:
        device = self._suffix.device
        blocks = self._tower.frozen_blocks(dtype)
        own = self._n_ctx if self._class_specific else 0
        lengths = [own + end + 1 for end in self._ends]
        per_token = runs * _bytes_per_token(blocks, len(self._start) + self._n_ctx - own)
        most = min(_CHUNK_TOKENS[device.type] // runs, self._memory // 4 // per_token)
        overhead = _BUCKET_OVERHEAD[device.type] / (48 * self._tower.width**2) / runs
        chunks: list[_Chunk] = []
        left = self._memory - self._memory // 4  # the rest is for what is computed again
        buckets = make_buckets(lengths, overhead, most)
        for group in group_buckets(buckets, most):
            left -= per_token * sum(bucket.tokens for bucket in group)
            chunks.append(self._make_chunk(blocks, group, runs, own, kept=left >= 0))
        order = torch.tensor([c for bucket in buckets for c in bucket.classes]).argsort()
        prefix = None
        if not self._class_specific:
            prefix = PackedLayers(blocks, [Bucket([0], self._n_ctx)], runs, device)
        start = self._start_keys_values(blocks, runs)
        return _Plan(start, prefix, chunks, order.to(device))

    def _make_chunk(
        self,
        blocks: Sequence[FrozenBlock],
        buckets: Sequence[Bucket],
        runs: int,
        own: int,
        *,
        kept: bool,
    ) -> _Chunk:
        ends = [[own + self._ends[c] for c in bucket.classes] for bucket in buckets]
        layers = PackedLayers(blocks, buckets, runs, self._suffix.device, ends)
        suffixes = [self._suffix[bucket.classes, : bucket.length - own] for bucket in buckets]
        first = None
        if not self._class_specific and len(blocks) > 1:
            first = layers.first_parts(torch.cat([s.flatten(0, 1) for s in suffixes]))
        device = self._suffix.device
        classes = [torch.tensor(bucket.classes, device=device) for bucket in buckets]
        return _Chunk(layers, classes, suffixes, first, kept)

    def _start_keys_values(self, blocks: Sequence[FrozenBlock], runs: int) -> list[KeysValues]:
        heads, size = blocks[0].heads, self._tower.width // blocks[0].heads
        nothing = self._start.new_empty(heads, 0, size, dtype=blocks[0].dtype)
        found = [(nothing, nothing)] * len(blocks)
        if len(self._start):
            bucket = Bucket([0], len(self._start))
            layers = PackedLayers(blocks, [bucket], 1, self._start.device)
            _, found, _ = layers.forward(self._start, found)
        return [(k.repeat(runs, 1, 1), v.repeat(runs, 1, 1)) for k, v in found]


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, context: Tensor, encoder: SharedPrefixEncoder, dtype: torch.dtype
    ) -> Tensor:
        rows, tape = encoder._forward(context, dtype, keep=True)
        ctx.encoder, ctx.tape, ctx.type = encoder, tape, context.dtype
        return rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.encoder._backward(ctx.tape, gradient).to(ctx.type), None, None


def _bytes_per_token(blocks: Sequence[FrozenBlock], seen: int) -> int:
    """What a token's way through the blocks leaves on the tape, about."""
    block = blocks[0]
    wide = 2 * block.width * block.stream.itemsize  # the inputs of both norms
    narrow = (3 * block.width + block.mlp_width) * block.dtype.itemsize
    return len(blocks) * (wide + narrow + block.heads * (seen + 8) * block.stream.itemsize)


def _by_run(rows: Tensor, buckets: Sequence[Bucket], runs: int) -> list[Tensor]:
    """Rows in the order of buckets, R C of each -> (R, C, W) of each."""
    sizes = [runs * len(bucket.classes) for bucket in buckets]
    return [part.view(runs, -1, rows.shape[-1]) for part in rows.split_with_sizes(sizes)]


def _join(before: KeysValues, behind: KeysValues) -> KeysValues:
    return torch.cat([before[0], behind[0]], dim=1), torch.cat([before[1], behind[1]], dim=1)


def _add(total: list[KeysValues], more: list[KeysValues]) -> list[KeysValues]:
    if not total:
        return more
    return [(a + c, b + d) for (a, b), (c, d) in zip(total, more, strict=True)]
