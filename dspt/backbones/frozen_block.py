"""One residual block of a frozen text tower, forward and backward written out.

The tower's weights are never trained, so a backward pass needs neither their gradients nor what
these would be computed from. Written out, a block keeps under two thirds of what autograd keeps and
runs fewer kernels; the arithmetic is open_clip's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from open_clip.transformer import LayerScale, QuickGELU
from torch import Tensor, nn
from torch.nn import functional as F

_aten: Any = torch.ops.aten
_mkldnn: Any = torch.ops.mkldnn
_QUICK = 1.702  # QuickGELU(u) = u sigmoid(1.702 u) = silu(1.702 u) / 1.702


def can_freeze(block: nn.Module) -> bool:
    """Whether `FrozenBlock` knows every part of this block, which is a standard one."""
    parts: Any = block
    names = [name for name, _ in parts.mlp.named_children()]
    return (
        names == ["c_fc", "gelu", "c_proj"]
        and type(parts.mlp.gelu) in (nn.GELU, QuickGELU)
        and all(type(scale) in (nn.Identity, LayerScale) for scale in (parts.ls_1, parts.ls_2))
        and all(
            isinstance(norm, nn.LayerNorm) and norm.elementwise_affine for norm in _norms(block)
        )
    )


@dataclass(frozen=True)
class NormTape:
    """What a layer norm's backward pass needs: its input (T, W) and statistics (T, 1)."""

    x: Tensor
    mean: Tensor
    rstd: Tensor


@dataclass(frozen=True)
class MlpTape:
    """What the backward pass of a block's second half needs."""

    norm: NormTape
    hidden: Tensor
    """(T, 4 W) before the activation; for QuickGELU times 1.702."""


class FrozenBlock:
    """x + ls_1(attn(ln_1(x))), then x + ls_2(mlp(ln_2(x))), less the attention between tokens.

    Tokens come as (T, W). The residual stream is float32 (or the tower's own type, if wider);
    matrix products are done in `dtype`, to which the weights are cast once.
    """

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        parts: Any = block
        attn, fc, proj = parts.attn, parts.mlp.c_fc, parts.mlp.c_proj
        self.heads: int = attn.num_heads
        self.width: int = attn.embed_dim
        self.mlp_width: int = fc.out_features
        self.dtype = dtype
        self.stream = torch.promote_types(torch.float32, attn.in_proj_weight.dtype)
        self._ln_1, self._ln_2 = (_Norm(norm, self.stream) for norm in _norms(block))
        self._in_w, self._in_b = _cast(attn.in_proj_weight, dtype), _cast(attn.in_proj_bias, dtype)
        self._out_w, self._out_b = _scaled(attn.out_proj, parts.ls_1, dtype)
        self._fc_w, self._proj_w = _cast(fc.weight, dtype), _scaled(proj, parts.ls_2, dtype)[0]
        self._proj_b = _scaled(proj, parts.ls_2, dtype)[1]
        self._approximate: str = getattr(parts.mlp.gelu, "approximate", "none")
        # SiLU is one kernel where QuickGELU is three: 1.702 goes into the norm before it and the
        # biases, which costs nothing, and is taken out of the sum behind it.
        self._quick = _QUICK if isinstance(parts.mlp.gelu, QuickGELU) else None
        self._fc_b = _cast(fc.bias.detach() * (self._quick or 1), dtype)
        self._ln_2_quick = self._ln_2.times(self._quick or 1)
        self._proj_b = self._proj_b * (self._quick or 1)

    def normed(self, x: Tensor) -> tuple[Tensor, NormTape]:
        """ln_1, what queries, keys and values are made of."""
        return self._ln_1.forward(x, self.dtype)

    def normed_backward(self, gradient: Tensor, tape: NormTape) -> Tensor:
        """Gradient in x of `normed`."""
        return self._ln_1.backward(gradient, tape)

    def project(self, normed: Tensor, first: int = 0, last: int = 3) -> Tensor:
        """Queries (0), keys (1) and values (2) from `first` to before `last`: (T, n W)."""
        rows = slice(first * self.width, last * self.width)
        return _linear(normed, self._in_w[rows], self._in_b[rows])

    def project_backward(self, gradient: Tensor, first: int = 0, last: int = 3) -> Tensor:
        """Gradient in `normed` of `project`."""
        return _linear_backward(gradient, self._in_w[first * self.width : last * self.width])

    def finish(self, x: Tensor, attended: Tensor) -> tuple[Tensor, MlpTape]:
        """Everything behind the attention; `attended` is (T, W), heads joined."""
        y = x + _linear(attended, self._out_w, self._out_b)
        normed, norm_tape = self._ln_2_quick.forward(y, self.dtype)
        hidden = _linear(normed, self._fc_w, self._fc_b)
        tape = MlpTape(norm_tape, hidden)
        if self._quick is None:
            active = F.gelu(hidden, approximate=self._approximate)
            return y + _linear(active, self._proj_w, self._proj_b), tape
        out = _linear(F.silu(hidden), self._proj_w, self._proj_b)
        return torch.add(y, out, alpha=1 / self._quick), tape

    def finish_backward(self, gradient: Tensor, tape: MlpTape) -> tuple[Tensor, Tensor]:
        """Gradients in x and in `attended` of `finish`."""
        g = _linear_backward(gradient.to(self.dtype), self._proj_w)
        if self._quick is None:
            g = _aten.gelu_backward(g, tape.hidden, approximate=self._approximate)
        else:
            g = _aten.silu_backward(g, tape.hidden)
        g = _linear_backward(g, self._fc_w)
        # By ln_2 as it is: the two factors of QuickGELU cancel in the gradient.
        g = gradient + self._ln_2.backward(g, tape.norm)
        return g, _linear_backward(g.to(self.dtype), self._out_w)


class _Norm:
    def __init__(self, norm: Any, dtype: torch.dtype) -> None:
        self._weight, self._bias = _cast(norm.weight, dtype), _cast(norm.bias, dtype)
        self._shape, self._eps, self._module = list(norm.normalized_shape), norm.eps, norm

    def times(self, factor: float) -> _Norm:
        scaled = _Norm(self._module, self._weight.dtype)
        scaled._weight, scaled._bias = self._weight * factor, self._bias * factor
        return scaled

    def forward(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, NormTape]:
        out, mean, rstd = torch.native_layer_norm(
            x, self._shape, self._weight, self._bias, self._eps
        )
        return out.to(dtype), NormTape(x, mean, rstd)

    def backward(self, gradient: Tensor, tape: NormTape) -> Tensor:
        found: Tensor = _aten.native_layer_norm_backward(
            gradient.to(tape.x.dtype),
            tape.x,
            self._shape,
            tape.mean,
            tape.rstd,
            self._weight,
            self._bias,
            [True, False, False],
        )[0]
        return found


def _norms(block: Any) -> tuple[Any, Any]:
    return block.ln_1, block.ln_2


def _cast(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.detach().to(dtype)


def _scaled(linear: Any, scale: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight and bias with the layer scale behind them multiplied in."""
    weight, bias = linear.weight.detach(), linear.bias.detach()
    if isinstance(scale, LayerScale):
        gamma = scale.gamma.detach()
        weight, bias = weight * gamma[:, None], bias * gamma
    return _cast(weight, dtype), _cast(bias, dtype)


_HAS_ONEDNN = torch.backends.cpu.get_cpu_capability().startswith("AVX") and hasattr(
    _mkldnn, "_linear_pointwise"
)


def _use_onednn(x: Tensor) -> bool:
    """In float32 on x86, call oneDNN rather than torch's choice.

    That is MKL, which runs AMD's processors at half speed: on one core of an EPYC of the Zen 5
    generation, 400 x 512 by 512 x 2048, MKL does 0.094 and oneDNN 0.208 TFLOP/s. Elsewhere, and in
    bfloat16, torch chooses well.
    """
    return _HAS_ONEDNN and x.device.type == "cpu" and x.dtype == torch.float32


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if _use_onednn(x):
        found: Tensor = _mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return found
    return F.linear(x, weight, bias)


def _linear_backward(gradient: Tensor, weight: Tensor) -> Tensor:
    if _use_onednn(gradient):
        return _linear(gradient, weight.t(), None)
    return gradient @ weight
