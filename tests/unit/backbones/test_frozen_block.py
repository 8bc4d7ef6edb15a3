"""A frozen block against open_clip's, for classes packed side by side."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from open_clip.transformer import LayerNormFp32, QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn
from towers import disturb

from dspt.backbones.frozen_block import FrozenBlock, Layout, can_freeze, causal_mask


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


ENDS = [[2, 2], [3, 1, 0]]
"""Two groups: two classes of three tokens, three of up to four."""


def by_class(block: Any, x: Tensor, seen: Tensor | None) -> list[Tensor]:
    """Run open_clip's block on one class after the other, `seen` in front of it."""
    rows, at = [], 0
    for group in ENDS:
        for _ in group:
            own = x[:, at : at + max(group) + 1]
            at += max(group) + 1
            whole = own if seen is None else torch.cat([seen, own], dim=1)
            rows.append(block(whole, attn_mask=causal_mask(whole.shape[1], x))[:, -own.shape[1] :])
    return rows


@pytest.mark.parametrize("settings", SETTINGS, ids=range(len(SETTINGS)))
@pytest.mark.parametrize("before", [0, 4])
def test_output_and_gradients_are_those_of_the_block(settings: dict[str, Any], before: int) -> None:
    block = block_of(**settings)
    assert can_freeze(block)
    frozen, runs = FrozenBlock(block, torch.float64), 2
    x = torch.randn(runs, 18, 24, dtype=torch.float64, requires_grad=True)
    prefix = torch.randn(runs, before, 24, dtype=torch.float64, requires_grad=True)
    layout = Layout.of(ENDS, x)

    rows = by_class(block, x, prefix)
    every = torch.cat(rows, dim=1)
    last = [
        row[:, end] for row, end in zip(rows, [e for group in ENDS for e in group], strict=True)
    ]
    for expected, ends in ((every, False), (torch.stack(last, dim=1), True)):
        seen = frozen.keys_values(prefix) if before else None
        found = frozen(x, layout, seen, ends=ends)
        torch.testing.assert_close(found, expected)
        probe = torch.randn_like(expected)
        wanted = torch.autograd.grad((expected * probe).sum(), [x, prefix], retain_graph=True)
        ours = torch.autograd.grad((found * probe).sum(), [x, prefix], allow_unused=not before)
        torch.testing.assert_close(ours[0], wanted[0])
        if before:
            torch.testing.assert_close(ours[1], wanted[1])


def test_float32_is_as_exact_as_torch() -> None:
    """On x86 another library computes the products."""
    block = block_of()
    x = torch.randn(1, 18, 24, dtype=torch.float64, requires_grad=True)
    layout = Layout.of(ENDS, x)
    expected = FrozenBlock(block, torch.float64)(x, layout)
    found = FrozenBlock(block.float(), torch.float32)(x.float(), layout)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    probe = torch.randn_like(expected)
    (theirs,) = torch.autograd.grad((expected * probe).sum(), x)
    (ours,) = torch.autograd.grad((found * probe).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_weights_are_not_copied_in_their_own_type_and_cast_once_in_another() -> None:
    block = block_of().float()
    same, other = FrozenBlock(block, torch.float32), FrozenBlock(block, torch.bfloat16)
    assert same._fc[0].data_ptr() == block.mlp.c_fc.weight.data_ptr()
    assert same._q[0].data_ptr() == block.attn.in_proj_weight.data_ptr()
    assert other._fc[0].dtype == other._fc[1].dtype == torch.bfloat16
    x = torch.randn(1, 18, 24, requires_grad=True)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        found = other(x, Layout.of(ENDS, x))
    assert found.dtype == torch.float32  # the residual stream
    wide = [t for t in kept if t.shape[-2:] == (18, other.mlp_width)]
    assert [t.dtype for t in wide] == [torch.bfloat16]  # only the input of the activation


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
