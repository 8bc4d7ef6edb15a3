"""A frozen block's halves, forward and backward, against open_clip's block under autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from open_clip.transformer import LayerNormFp32, QuickGELU, ResidualAttentionBlock
from torch import nn
from towers import disturb

from dspt.backbones.frozen_block import FrozenBlock, can_freeze


def tanh_gelu() -> nn.Module:
    return nn.GELU(approximate="tanh")


def block_of(**settings: Any) -> Any:
    torch.manual_seed(4)
    block = ResidualAttentionBlock(24, 3, **settings)
    disturb(block)
    return block.double().requires_grad_(False)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"act_layer": QuickGELU},
    {"act_layer": tanh_gelu},
    {"ls_init_value": 0.3},
    {"ls_init_value": 0.3, "act_layer": QuickGELU},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=range(len(SETTINGS)))
def test_what_follows_the_attention(settings: dict[str, Any]) -> None:
    block = block_of(**settings)
    assert can_freeze(block)
    frozen = FrozenBlock(block, torch.float64)
    x, attended, probe = torch.randn(3, 7, 24, dtype=torch.float64).unbind(0)
    x.requires_grad_()
    attended.requires_grad_()
    y = x + block.ls_1(block.attn.out_proj(attended))
    expected = y + block.ls_2(block.mlp(block.ln_2(y)))
    gradients = torch.autograd.grad((expected * probe).sum(), [x, attended])
    with torch.no_grad():
        found, tape = frozen.finish(x, attended)
        ours = frozen.finish_backward(probe, tape)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours, gradients)


@pytest.mark.parametrize(("first", "last"), [(0, 3), (1, 3), (0, 1)])
def test_queries_keys_and_values(first: int, last: int) -> None:
    block = block_of()
    frozen = FrozenBlock(block, torch.float64)
    x = torch.randn(7, 24, dtype=torch.float64, requires_grad=True)
    every = nn.functional.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)
    expected = every[:, first * 24 : last * 24]
    probe = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad((expected * probe).sum(), x)
    with torch.no_grad():
        normed, tape = frozen.normed(x)
        found = frozen.project(normed, first, last)
        ours = frozen.normed_backward(frozen.project_backward(probe, first, last), tape)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours, gradient)


@pytest.mark.parametrize("tokens", [1, 5, 400])
def test_float32_is_as_exact_as_torch(tokens: int) -> None:
    """On x86 another library does the products."""
    block = block_of()
    exact = FrozenBlock(block, torch.float64)
    frozen = FrozenBlock(block.float(), torch.float32)
    x, attended, probe = torch.randn(3, tokens, 24, dtype=torch.float64).unbind(0)
    expected, exact_tape = exact.finish(x, attended)
    found, tape = frozen.finish(x.float(), attended.float())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    ours = frozen.finish_backward(probe.float(), tape)
    for mine, theirs in zip(ours, exact.finish_backward(probe, exact_tape), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-5)


def test_weights_are_not_copied_in_their_own_type_and_cast_once_in_another() -> None:
    block = block_of().float()
    same, other = FrozenBlock(block, torch.float32), FrozenBlock(block, torch.bfloat16)
    assert same._fc_w.data_ptr() == block.mlp.c_fc.weight.data_ptr()
    assert same._in_w.data_ptr() == block.attn.in_proj_weight.data_ptr()
    assert other._fc_w.dtype == other._fc_b.dtype == torch.bfloat16
    x, tape = other.finish(torch.randn(5, 24), torch.randn(5, 24).bfloat16())
    assert x.dtype == torch.float32  # the residual stream
    assert tape.hidden.dtype == torch.bfloat16
    in_x, in_attended = other.finish_backward(torch.randn(5, 24), tape)
    assert (in_x.dtype, in_attended.dtype) == (torch.float32, torch.bfloat16)


@pytest.mark.parametrize(
    ("settings", "can"),
    [
        ({"norm_layer": LayerNormFp32}, True),
        ({"act_layer": nn.ReLU}, False),
        ({"norm_layer": lambda width: nn.LayerNorm(width, elementwise_affine=False)}, False),
        ({"norm_layer": nn.RMSNorm}, False),
    ],
    ids=["norm in float32", "another activation", "norm without weights", "another norm"],
)
def test_what_is_known(settings: dict[str, Any], can: bool) -> None:
    assert can_freeze(ResidualAttentionBlock(24, 3, **settings)) is can


def test_an_mlp_with_a_part_more_is_not_known() -> None:
    block = block_of()
    block.mlp.append(nn.Dropout())
    assert not can_freeze(block)
