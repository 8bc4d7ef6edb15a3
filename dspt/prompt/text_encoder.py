"""Class embeddings as a function of context vectors, within a memory budget.

In a causal tower the tokens [start] ctx_1 ... ctx_M do not depend on the class, so
`SharedPrefixEncoder` computes a shared context once per run, and the suffix of each class (its
words, ".", [end]) attends to the keys and values of that prefix. Class-specific contexts share the
start token only. Classes of similar length go through the tower together, without what follows
their end tokens; in the last block only end tokens have queries and an MLP. Output and gradient
equal those of the plain tower, to rounding.

`PlainEncoder` runs the plain tower, for towers without a causal mask. Both recompute in the
backward pass what exceeds the memory budget. A step has static shapes and never waits for the GPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dspt.backbones.frozen_block import FrozenBlock, Layout, can_freeze
from dspt.backbones.text_tower import OpenClipTextTower
from dspt.kit.device import sent
from dspt.kit.memory import memory_limit

_CPU_MEMORY = 2 << 30
_CPU_SHARE = 0.25
"""Of the memory limit, where a container has one."""
_CUDA_SHARE = 0.5
_CHUNK_TOKENS = {"cpu": 2048, "cuda": 1 << 16}
"""Tokens that go through the tower together, of all runs: as many as the caches hold."""
_GROUP_OVERHEAD = {"cpu": 1e8, "cuda": 1e10}
"""Cost of the attention kernels of one more group, in floating point operations."""


def memory_budget(device: torch.device) -> int:
    """Return the bytes that a step may keep for its backward pass on `device`."""
    if device.type == "cuda":
        return int(_CUDA_SHARE * torch.cuda.mem_get_info(device)[0])
    limit = memory_limit()
    return _CPU_MEMORY if limit is None else min(_CPU_MEMORY, int(_CPU_SHARE * limit))


def shares_prefix(tower: OpenClipTextTower) -> bool:
    """Return whether `tower` is causal, has standard blocks and is read at its end token."""
    return (
        tower.causal
        and tower.standard
        and tower.pool in ("argmax", "eos")
        and all(can_freeze(block) for block in tower.blocks)
    )


@dataclass(frozen=True)
class _Chunk:
    """Classes that go through the tower together, with the tensors that a step needs."""

    layout: Layout
    classes: list[Tensor]
    """(C,) of each group."""
    suffixes: list[Tensor]
    """(C, L, W) of each group, positions added."""
    keep: bool
    """Whether what the backward pass needs is kept; otherwise it is recomputed."""


class SharedPrefixEncoder:
    """Encode class prompts with a causal tower.

    start: (S, W) embeddings before the context; suffix: (C, L, W) embeddings after it, padded
    after each end token; end: (C,) index of each end token in its suffix; n_ctx: number of context
    vectors; class_specific: whether each class has its own; memory: bytes that may be kept for the
    backward pass (default: `memory_budget`).
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
        memory: int | None = None,
    ) -> None:
        self._tower, self._class_specific = tower, class_specific
        self._own = n_ctx if class_specific else 0
        self._end = self._own + end
        self._lengths: list[int] = (self._end + 1).tolist()
        self._memory = memory_budget(suffix.device) if memory is None else memory
        stream = torch.promote_types(torch.float32, tower.dtype)
        before = len(start) + n_ctx
        with torch.inference_mode(False), torch.no_grad():
            positions = tower.positions.to(stream)
            self._start = start.to(stream) + positions[: len(start)]
            self._positions = positions[len(start) : before].clone()
            self._suffix = suffix.to(stream) + positions[before : before + suffix.shape[1]]
            prefix = len(start) + (0 if class_specific else n_ctx)
            self._prefix = Layout.of([[prefix - 1]], self._suffix)
        self._plans: dict[tuple[int, torch.dtype], tuple[list[_Chunk], Tensor]] = {}

    @cached_property
    def length_groups(self) -> list[list[int]]:
        """Classes of similar length, which `encode` can take some of. The same on every device."""
        overhead = _GROUP_OVERHEAD["cpu"] / self._work_per_token
        return group_by_length(self._lengths, overhead)

    def encode(self, context: Tensor, classes: Sequence[Tensor] | None = None) -> Tensor:
        """Encode (R, M, W), or (R, C, M, W) if class-specific, to (R, C, D), not normalised.

        classes: of each of the `length_groups`, the classes to encode. Default: all classes, in
        their order. Shapes depend on the numbers of classes alone.

        Differentiable in `context`, once. Matrix products use autocast's type if it is on.
        """
        device, runs, dtype = context.device.type, len(context), self._tower.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        blocks = self._tower.frozen_blocks(dtype)
        if classes is None:
            chunks, order = self._plan(runs, dtype)
        else:
            chunks, order = self._chunks(runs, dtype, self.length_groups, classes), None
        with torch.autocast(device, enabled=False):
            context = context.to(self._suffix.dtype) + self._positions
            prefix = self._start.expand(runs, -1, -1)
            if not self._class_specific:
                prefix = torch.cat([prefix, context], dim=1)
            seen: list[Tensor] = []
            for block in blocks:
                seen += block.keys_values(prefix)
                if block is not blocks[-1]:
                    prefix = block(prefix, self._prefix)
            rows = []
            for chunk in chunks:
                encode = partial(self._encode_chunk, blocks, chunk)
                rows.append(_call(encode, context, *seen, keep=chunk.keep))
            found = torch.cat(rows, dim=1)
            if order is not None:
                found = found.index_select(1, order)
        return self._tower.project(found.to(self._tower.dtype))

    def _encode_chunk(
        self, blocks: list[FrozenBlock], chunk: _Chunk, context: Tensor, *seen: Tensor
    ) -> Tensor:
        """End tokens (R, C, W) after the last block."""
        parts = []
        for classes, suffix in zip(chunk.classes, chunk.suffixes, strict=True):
            part = suffix.expand(len(context), -1, -1, -1)
            if self._class_specific:
                part = torch.cat([context.index_select(1, classes), part], dim=2)
            parts.append(part.flatten(1, 2))
        x = torch.cat(parts, dim=1)
        for i, block in enumerate(blocks):
            x = block(x, chunk.layout, seen[2 * i : 2 * i + 2], ends=i == len(blocks) - 1)
        return x

    def _plan(self, runs: int, dtype: torch.dtype) -> tuple[list[_Chunk], Tensor]:
        """Return chunks of all classes, and the (C,) position of each class in them."""
        if (runs, dtype) not in self._plans:
            device = self._suffix.device
            overhead = _GROUP_OVERHEAD[device.type] / self._work_per_token / runs
            groups = group_by_length(self._lengths, overhead)
            # Tensors made in inference mode cannot take part in training later.
            with torch.inference_mode(False), torch.no_grad():
                order = torch.tensor([c for group in groups for c in group]).argsort()
                classes = [sent(torch.tensor(group), device) for group in groups]
                chunks = self._chunks(runs, dtype, groups, classes)
                self._plans[runs, dtype] = chunks, sent(order, device)
        return self._plans[runs, dtype]

    def _chunks(
        self,
        runs: int,
        dtype: torch.dtype,
        groups: Sequence[Sequence[int]],
        classes: Sequence[Tensor],
    ) -> list[_Chunk]:
        """Return `classes` of each group in chunks, of which as many are kept as memory allows."""
        blocks, seen = self._tower.frozen_blocks(dtype), self._prefix.groups[0][1]
        per_token = runs * _bytes_per_token(blocks, seen)
        by_memory = self._memory // 4 // per_token
        most = min(_CHUNK_TOKENS[self._suffix.device.type] // runs, by_memory)
        pieces: list[tuple[Tensor, int]] = []
        for group, members in zip(groups, classes, strict=True):
            longest = max(self._lengths[c] for c in group)
            pieces += [(part, longest) for part in torch.split(members, max(1, most // longest))]
        sizes = [len(part) * longest for part, longest in pieces]
        left = self._memory - self._memory // 4  # a quarter is for recomputing
        chunks = []
        for together in _join(sizes, most):
            parts, lengths = zip(*pieces[together], strict=True)
            layout = Layout.gathered([self._end[part] for part in parts], lengths, self._suffix)
            suffixes = [
                self._suffix[part, : length - self._own] for part, length in pieces[together]
            ]
            left -= per_token * sum(sizes[together])
            chunks.append(_Chunk(layout, list(parts), suffixes, keep=left >= 0))
        return chunks

    @property
    def _work_per_token(self) -> int:
        """Estimate the floating point operations of a token of one run in a block."""
        return 48 * self._tower.width**2


class PlainEncoder:
    """Encode class prompts with any tower, a chunk of classes at a time.

    start: (S, W) embeddings before the context; suffix: (C, L, W) embeddings after it, padding
    included; end: (C,) index of each end token in the whole sequence; class_specific: whether each
    class has its own context; memory: bytes that may be kept for the backward pass (default:
    `memory_budget`).
    """

    def __init__(
        self,
        tower: OpenClipTextTower,
        start: Tensor,
        suffix: Tensor,
        end: Tensor,
        *,
        class_specific: bool = False,
        memory: int | None = None,
    ) -> None:
        self._tower, self._start, self._suffix, self._end = tower, start, suffix, end
        self._class_specific = class_specific
        self._memory = memory_budget(suffix.device) if memory is None else memory

    @property
    def length_groups(self) -> list[list[int]]:
        """All classes in one group: they are padded to one length."""
        return [list(range(len(self._suffix)))]

    def encode(self, context: Tensor, classes: Sequence[Tensor] | None = None) -> Tensor:
        """Encode (R, M, W), or (R, C, M, W) if class-specific, to (R, C, D), not normalised.

        classes: of each of the `length_groups`, the classes to encode. Default: all classes.
        """
        suffix, end = self._suffix, self._end
        if classes is not None:
            (drawn,) = classes
            suffix, end = suffix[drawn], end[drawn]
            if self._class_specific:
                context = context.index_select(1, drawn)
        runs, count = len(context), len(suffix)
        if not self._class_specific:
            context = context[:, None].expand(-1, count, -1, -1)
        length = len(self._start) + context.shape[2] + suffix.shape[1]
        per_class = runs * length * self._tower.bytes_per_token(length)
        size = min(count, max(1, self._memory // 4 // per_class))
        kept = (self._memory - self._memory // 4) // (per_class * size)
        parts = zip(
            torch.split(context, size, 1),
            torch.split(suffix, size),
            torch.split(end, size),
            strict=True,
        )
        rows = [_call(self._encode_part, *part, keep=i < kept) for i, part in enumerate(parts)]
        return torch.cat(rows, dim=1)

    def _encode_part(self, context: Tensor, suffix: Tensor, end: Tensor) -> Tensor:
        runs, classes = context.shape[:2]
        start = self._start.expand(runs, classes, -1, -1)
        sequence = torch.cat(
            [start, context.to(start.dtype), suffix.expand(runs, -1, -1, -1)], dim=2
        )
        encoded = self._tower.encode(sequence.flatten(0, 1), end.repeat(runs))
        return encoded.view(runs, classes, -1)


def group_by_length(lengths: Sequence[int], overhead: float) -> list[list[int]]:
    """Return groups of indices, each to be padded to its longest.

    One more group saves padding and costs `overhead` tokens: over all ways to cut the sorted
    lengths, the sum of both is the smallest.
    """
    counts = Counter(lengths)
    best: list[tuple[float, list[int]]] = [(0.0, [0])]  # cost and cuts for the shortest 0, 1, ...
    for upto, longest in enumerate(known := sorted(counts), 1):
        options = []
        for first in range(upto):
            count = sum(counts[length] for length in known[first:upto])
            cost, cuts = best[first]
            options.append((cost + count * longest + overhead, [*cuts, longest]))
        best.append(min(options))
    return [
        [i for i, length in enumerate(lengths) if shorter < length <= longest]
        for shorter, longest in pairwise(best[-1][1])
    ]


def _join(sizes: Sequence[int], most: int) -> list[slice]:
    """Consecutive groups of so many tokens together, as long as they have at most `most`."""
    joined: list[slice] = []
    left = 0
    for i, tokens in enumerate(sizes):
        if joined and tokens <= left:
            joined[-1] = slice(joined[-1].start, i + 1)
            left -= tokens
        else:
            joined.append(slice(i, i + 1))
            left = most - tokens
    return joined


def _call(function: Callable[..., Tensor], *arguments: Tensor, keep: bool) -> Tensor:
    """Call `function`; unless `keep`, its backward pass recomputes what it needs."""
    if keep or not torch.is_grad_enabled():
        return function(*arguments)
    found: Tensor = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
    return found


def _bytes_per_token(blocks: Sequence[FrozenBlock], seen: int) -> int:
    """Estimate what autograd keeps of one token in all blocks."""
    block = blocks[0]
    wide = 2 * block.width * block.stream.itemsize  # the inputs of both norms
    narrow = (3 * block.width + block.mlp_width) * block.dtype.itemsize
    return len(blocks) * (wide + narrow + block.heads * (seen + 8) * block.stream.itemsize)
