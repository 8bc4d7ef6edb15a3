"""PromptLearner of different lengths side by side, and the attention between their tokens.

Tokens are packed: those of all classes stand in one (T, W) matrix, so that whatever works on single
tokens (norms, linear maps, MLP) costs by the sum of the lengths. Attention works on buckets of
classes of like length.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Bucket:
    """Classes whose sequences are padded to one length."""

    classes: list[int]
    length: int

    @property
    def tokens(self) -> int:
        """Tokens of one run, padding included."""
        return len(self.classes) * self.length


def make_buckets(lengths: Sequence[int], overhead: float, most_tokens: int) -> list[Bucket]:
    """Classes by length, in as many buckets as pay.

    A bucket of its own saves padding and costs kernels, worth `overhead` tokens: the sum of both is
    least over all ways to cut the sorted lengths. No bucket has more than `most_tokens` tokens,
    unless of one class.
    """
    buckets = []
    for shorter, longest in pairwise([0, *_ends(Counter(lengths), overhead)]):
        classes = sorted(
            (c for c, length in enumerate(lengths) if shorter < length <= longest),
            key=lambda c: lengths[c],
        )
        size = max(1, most_tokens // longest)
        # Pieces of like size: a small rest would cost as many kernels as a full one.
        size = math.ceil(len(classes) / math.ceil(len(classes) / size))
        buckets += [Bucket(classes[i : i + size], longest) for i in range(0, len(classes), size)]
    return buckets


def _ends(counts: Counter[int], overhead: float) -> list[int]:
    """Padded lengths, ascending, that cost least in padding and overhead."""
    lengths = sorted(counts)
    best: list[tuple[float, list[int]]] = [(0.0, [])]
    for upto, length in enumerate(lengths, 1):
        classes, options = 0, []
        for start in range(upto - 1, -1, -1):
            classes += counts[lengths[start]]
            cost, ends = best[start]
            options.append((cost + classes * length + overhead, [*ends, length]))
        best.append(min(options))
    return best[-1][1]


def group_buckets(buckets: Sequence[Bucket], most_tokens: int) -> list[list[Bucket]]:
    """Consecutive buckets together as long as they have at most `most_tokens` tokens."""
    groups: list[list[Bucket]] = []
    tokens = 0
    for bucket in buckets:
        if groups and tokens + bucket.tokens <= most_tokens:
            groups[-1].append(bucket)
            tokens += bucket.tokens
        else:
            groups.append([bucket])
            tokens = bucket.tokens
    return groups


@dataclass(frozen=True)
class Parts:
    """Queries (scaled), keys and values of a bucket's own tokens, heads apart.

    q: (R H, C Q, d), k and v: (R H, C L, d), for R runs, H heads, C classes, L tokens of each, of
    which Q ask. Those that only are seen have no q.
    """

    q: Tensor | None
    k: Tensor
    v: Tensor


def split_heads(x: Tensor, runs: int, classes: int, heads: int, n: int) -> list[Tensor]:
    """(R C L, n W) -> n times (R H, C L, W / H)."""
    length = x.shape[0] // (runs * classes)
    parts = x.view(runs, classes * length, n, heads, -1).permute(2, 0, 3, 1, 4)
    return list(parts.reshape(n, runs * heads, classes * length, -1).unbind(0))


def join_heads(parts: Sequence[Tensor], runs: int) -> Tensor:
    """n times (R H, C L, d) -> (R C L, n W)."""
    batch, tokens, size = parts[0].shape
    joined = parts[0].new_empty(runs, tokens, len(parts), batch // runs, size)
    for part, place in zip(parts, joined.unbind(2), strict=True):
        place.copy_(part.view(runs, -1, tokens, size).transpose(1, 2))
    return joined.view(runs * tokens, -1)


def attend(
    own: Parts, prefix: tuple[Tensor, Tensor], mask: Tensor, classes: int
) -> tuple[Tensor, Tensor]:
    """Each class's queries over the keys of the shared prefix and over its own.

    prefix: keys and values (R H, P, d); mask: (Q, L), or (C, Q, L), 0 or -inf. Returns what was
    found, (R H, C Q, d), and the weights, (R H, C Q, P + L), in float32 at least.
    """
    q = own.q
    assert q is not None
    before = prefix[0].shape[1]
    to_own = _by_class(q, classes) @ _by_class(own.k, classes).mT + mask
    to_own = to_own.flatten(1, 2)
    # All classes' queries meet the shared keys in one product.
    scores = torch.cat([q @ prefix[0].mT, to_own], dim=-1) if before else to_own
    weights = scores.softmax(-1, dtype=torch.promote_types(torch.float32, q.dtype))
    cast = weights.to(q.dtype)
    found = (_by_class(cast[..., before:], classes) @ _by_class(own.v, classes)).flatten(1, 2)
    if before:
        found = torch.baddbmm(found, cast[..., :before], prefix[1])
    return found, weights


@dataclass(frozen=True)
class AttentionGradient:
    """Gradients of `attend`, shaped as its arguments; only those that were asked for."""

    q: Tensor | None
    k: Tensor | None
    v: Tensor | None
    prefix: tuple[Tensor, Tensor] | None


def attend_backward(
    gradient: Tensor,
    own: Parts,
    prefix: tuple[Tensor, Tensor],
    weights: Tensor,
    classes: int,
    *,
    want_own: bool,
    want_prefix: bool,
) -> AttentionGradient:
    """Gradients of a scalar in `own` and `prefix`, from its `gradient` in what `attend` found."""
    q = own.q
    assert q is not None
    before = prefix[0].shape[1]
    g = _by_class(gradient, classes)
    to_own = (g @ _by_class(own.v, classes).mT).flatten(1, 2)
    in_weights = torch.cat([gradient @ prefix[1].mT, to_own], dim=-1) if before else to_own
    in_weights = in_weights.to(weights.dtype)
    scores = torch._softmax_backward_data(in_weights, weights, -1, weights.dtype).to(q.dtype)
    cast = weights.to(q.dtype)
    in_prefix = None
    if want_prefix:
        in_prefix = (scores[..., :before].mT @ q, cast[..., :before].mT @ gradient)
    if not want_own:
        return AttentionGradient(None, None, None, in_prefix)
    own_scores = _by_class(scores[..., before:], classes)
    in_q = (own_scores @ _by_class(own.k, classes)).flatten(1, 2)
    if before:
        in_q = torch.baddbmm(in_q, scores[..., :before], prefix[0])
    in_k = (own_scores.mT @ _by_class(q, classes)).flatten(1, 2)
    in_v = (_by_class(cast[..., before:], classes).mT @ g).flatten(1, 2)
    return AttentionGradient(in_q, in_k, in_v, in_prefix)


def _by_class(x: Tensor, classes: int) -> Tensor:
    """(R H, C L, n) -> (R H, C, L, n)."""
    return x.view(x.shape[0], classes, -1, x.shape[-1])
