"""The losses that a context can be tuned with, their gradients and bounds.

With p = softmax(z) over C classes, y the given label and p_y its probability:

=====  ============================================  ====================================
name   loss                                          source
=====  ============================================  ====================================
dspt   -log softmax(p)_y = logsumexp(p) - p_y        Li et al., ICML 2026 (PMLR 306)
ce     -log p_y                                      CoOp: Zhou et al., IJCV 2022
gce    (1 - p_y^q) / q                               Zhang & Sabuncu, NeurIPS 2018
mae    sum_i |p_i - onehot(y)_i| = 2 - 2 p_y         Ghosh, Kumar & Sastry, AAAI 2017
=====  ============================================  ====================================

DSPT takes the softmax twice, so its input to cross-entropy is confined to the simplex: it spans
exactly 1, and its gradient vanishes where the model is certain, be it of the given label or of
another one. A label that the model firmly contradicts is therefore ignored as noise.

Scale of MAE: 2 - 2 p_y is the L1 distance itself. NLPrompt writes 1 - p_y (and GCE becomes that at
q = 1), half of it; the default learning rate was measured with the full distance.

All is computed in float32 whatever the precision of the logits (float64 stays float64): half
precision overflows in the backward pass.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from dspt.config import LossName

GCE_Q = 0.7
"""Zhang & Sabuncu's exponent: towards 0 the loss is cross-entropy, at 1 it is MAE."""


def per_sample_loss(name: LossName, logits: Tensor, labels: Tensor, q: float = GCE_Q) -> Tensor:
    """Loss of every sample, differentiable in the logits.

    logits: (..., C), any floating type; labels: (...) integers in 0..C-1; q: GCE's exponent, in
    (0, 1]. Returns (...) float32, or float64 for float64 logits.
    Raises ValueError for an unknown name, shapes that do not fit, or q out of range.
    """
    z, y = _prepare(logits, labels)
    if name == "dspt":
        p = z.softmax(-1)
        return p.logsumexp(-1) - _pick(p, y)
    log_p_y = _pick(z.log_softmax(-1), y)
    if name == "ce":
        return -log_p_y
    if name == "gce":
        # 1 - p_y^q would cancel for a small q.
        return -torch.expm1(_exponent(q) * log_p_y) / q
    if name == "mae":
        return 2 - 2 * log_p_y.exp()
    raise _unknown(name)


def dspt_loss(
    logits: Tensor, labels: Tensor, *, reduction: Literal["mean", "sum", "none"] = "mean"
) -> Tensor:
    """The DSPT loss as a drop-in for `torch.nn.functional.cross_entropy` of (N, C) class indices.

    logits: (..., C), the classes always last; labels: (...) integers in 0..C-1. There is no
    ignore_index. Returns a scalar, or (...) for "none".
    Raises ValueError as `per_sample_loss` does, and for an unknown reduction.
    """
    loss = per_sample_loss("dspt", logits, labels)
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"reduction is {reduction!r}; it must be mean, sum or none")


def gradient(name: LossName, logits: Tensor, labels: Tensor, q: float = GCE_Q) -> Tensor:
    """Closed form of d per_sample_loss / d logits; not differentiable itself.

    Cross-entropy has p - onehot(y); GCE p_y^q times that; MAE 2 p_y times that. DSPT has
    p_i (g_i - sum_j p_j g_j) with g = softmax(p) - onehot(y), by the chain rule.
    Arguments and errors as in per_sample_loss; returns (..., C).
    """
    with torch.no_grad():
        z, y = _prepare(logits, labels)
        if name == "dspt":
            return _dspt_gradient(z, y)
        ce = _ce_gradient(z, y)
        if name == "ce":
            return ce
        log_p_y = _pick(z.log_softmax(-1), y).unsqueeze(-1)
        if name == "gce":
            return torch.exp(_exponent(q) * log_p_y) * ce
        if name == "mae":
            return 2 * torch.exp(log_p_y) * ce
        raise _unknown(name)


def suppression(logits: Tensor, labels: Tensor) -> Tensor:
    """|dL_DSPT/dz| / |dL_CE/dz| of every sample: near 0, DSPT ignores a label that CE would learn.

    logits: (..., C); labels: (...). Returns (...) float32, or float64 for float64 logits.

    For a small p_y it depends on how the other classes share the rest: about p_y when one has all
    or all have as much, up to tens of times that in between when the classes are few.

    A sample that is fitted (p_y -> 1) is not a suppressed one: there both gradients vanish in
    proportion, and the ratio tends to C / (e + C - 1), from whatever side it is reached. That limit
    (0.54 for 2 classes, 0.85 for 10, towards 1 for many) is returned where 1 - p_y falls below the
    rounding unit, so the result is never 0/0.
    """
    with torch.no_grad():
        z, y = _prepare(logits, labels)
        ce, dspt = _ce_gradient(z, y), _dspt_gradient(z, y)
        n_classes = z.shape[-1]
        limit = n_classes / (math.e + n_classes - 1)
        fitted = -_pick(ce, y) < torch.finfo(z.dtype).eps  # 1 - p_y
        # masked_fill() discards the 0/0 of fitted samples, and takes its constant without a copy
        # from the host.
        ratio: Tensor = dspt.norm(dim=-1) / ce.norm(dim=-1)
        return ratio.masked_fill(fitted, limit)


def loss_bounds(name: LossName, n_classes: int, q: float = GCE_Q) -> tuple[float, float]:
    """Smallest and largest value of a loss, at p_y = 1 and at p_y = 0 with another class certain.

    Cross-entropy has no upper bound (infinity). Raises ValueError for fewer than two classes.
    """
    if n_classes < 2:
        raise ValueError(f"n_classes is {n_classes}; a loss needs at least 2 classes")
    if name == "dspt":
        top = math.log(math.e + n_classes - 1)
        return top - 1, top
    if name == "ce":
        return 0.0, math.inf
    if name == "gce":
        return 0.0, 1 / _exponent(q)
    if name == "mae":
        return 0.0, 2.0
    raise _unknown(name)


def shift_to_unit(name: LossName, loss: Tensor, n_classes: int, q: float = GCE_Q) -> Tensor:
    """A bounded loss mapped linearly to 0 (fits its label) .. 1 (contradicts it), to show people.

    Unshifted, DSPT over 100 classes sits between 3.6 and 4.6 and looks as if it did not learn; it
    spans exactly 1, so it is only moved: L - log(e + C - 1) + 1. Cross-entropy has no upper bound
    and is returned as it is: 0 fits, log C is what guessing gets, more is worse.
    """
    low, high = loss_bounds(name, n_classes, q)
    if math.isinf(high):
        return loss
    return ((loss - low) / (high - low)).clamp(0, 1)  # rounding may step over an end


def _prepare(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    if logits.shape[:-1] != labels.shape or not logits.ndim:
        raise ValueError(
            f"labels have shape {tuple(labels.shape)}, but logits of shape {tuple(logits.shape)} "
            f"need {tuple(logits.shape[:-1])}"
        )
    if labels.is_floating_point():
        raise ValueError(
            f"labels are {labels.dtype}; they must be integers, the indices of classes"
        )
    return (logits if logits.dtype == torch.float64 else logits.float()), labels.long()


def _pick(values: Tensor, labels: Tensor) -> Tensor:
    """values[..., label] of each sample: (..., C), (...) -> (...)."""
    return values.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _ce_gradient(z: Tensor, y: Tensor) -> Tensor:
    """p - onehot(y), with p_y - 1 summed from the other classes: it would cancel as p_y -> 1."""
    index = y.unsqueeze(-1)
    others = z.softmax(-1).scatter(-1, index, 0.0)
    return others.scatter(-1, index, -others.sum(-1, keepdim=True))


def _dspt_gradient(z: Tensor, y: Tensor) -> Tensor:
    p = z.softmax(-1)
    g = p.softmax(-1)
    index = y.unsqueeze(-1)
    g.scatter_add_(-1, index, torch.full_like(index, -1, dtype=g.dtype))
    # The formula does not change with a constant added to g. Taking the likeliest class's g as zero
    # leaves only small p in the mean, so nothing cancels as that class's p approaches 1.
    g -= g.gather(-1, p.argmax(-1, keepdim=True))
    return p * (g - (p * g).sum(-1, keepdim=True))


def _exponent(q: float) -> float:
    if not 0 < q <= 1:
        raise ValueError(f"q is {q}; GCE's exponent lies in (0, 1]")
    return q


def _unknown(name: str) -> ValueError:
    return ValueError(f"there is no loss {name!r}; the losses are dspt, ce, gce, mae")
