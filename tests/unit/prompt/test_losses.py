"""Losses against their definitions: bounds, gradients, saturation, precision, suppression."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dspt.config import LossName
from dspt.prompt.losses import (
    dspt_loss,
    gradient,
    loss_bounds,
    per_sample_loss,
    shift_to_unit,
    suppression,
)

LOSSES: tuple[LossName, ...] = get_args(LossName)
BOUNDED: tuple[LossName, ...] = ("dspt", "gce", "mae")

every_loss = pytest.mark.parametrize("name", LOSSES)
properties = settings(deadline=None, max_examples=40)


@st.composite
def samples(draw: st.DrawFn, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Logits (B, C) from nearly flat to extreme, with labels (B,)."""
    n_classes = draw(st.sampled_from([2, 3, 5, 10, 37, 100, 1000]))
    batch = draw(st.integers(1, 8))
    scale = draw(st.sampled_from([0.01, 0.3, 1.0, 5.0, 30.0, 300.0, 1e4]))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = (torch.rand(batch, n_classes, generator=rng, dtype=torch.float64) * 2 - 1) * scale
    labels = torch.randint(n_classes, (batch,), generator=rng)
    return logits.to(dtype), labels


def logits_of(probabilities: list[float]) -> Tensor:
    return torch.tensor(probabilities, dtype=torch.float64).log()


def one(label: int) -> Tensor:
    return torch.tensor(label)


# Values


def test_dspt_loss_reduces_as_cross_entropy_does() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([0, 1, 2, 1, 0])
    each = dspt_loss(logits, labels, reduction="none")
    torch.testing.assert_close(each, per_sample_loss("dspt", logits, labels))
    torch.testing.assert_close(dspt_loss(logits, labels), each.mean())
    torch.testing.assert_close(dspt_loss(logits, labels, reduction="sum"), each.sum())
    dspt_loss(logits, labels).backward()
    torch.testing.assert_close(logits.grad, gradient("dspt", logits.detach(), labels) / 5)
    with pytest.raises(ValueError, match="must be mean, sum or none"):
        dspt_loss(logits, labels, reduction="max")  # type: ignore[arg-type]


def test_losses_are_what_their_definitions_say() -> None:
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    for y in range(3):
        loss = {name: per_sample_loss(name, p.log(), one(y)).item() for name in LOSSES}
        q_y = math.exp(p[y]) / sum(math.exp(v) for v in p)
        assert loss["dspt"] == pytest.approx(-math.log(q_y), abs=1e-14)
        assert loss["ce"] == pytest.approx(-math.log(p[y]), abs=1e-14)
        assert loss["gce"] == pytest.approx((1 - p[y].item() ** 0.7) / 0.7, abs=1e-14)
        assert loss["mae"] == pytest.approx((p - torch.eye(3)[y]).abs().sum().item(), abs=1e-14)


@given(samples())
@properties
def test_dspt_is_cross_entropy_of_a_second_softmax(sample: tuple[Tensor, Tensor]) -> None:
    logits, labels = sample
    expected = torch.nn.functional.cross_entropy(logits.softmax(-1), labels, reduction="none")
    torch.testing.assert_close(
        per_sample_loss("dspt", logits, labels), expected, rtol=0, atol=1e-13
    )


@every_loss
def test_leading_dimensions_are_kept(name: LossName) -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 7, generator=rng)
    labels = torch.randint(7, (3, 4), generator=rng)
    loss, grad = per_sample_loss(name, logits, labels), gradient(name, logits, labels)
    assert loss.shape == (3, 4)
    assert grad.shape == (3, 4, 7)
    assert suppression(logits, labels).shape == (3, 4)
    torch.testing.assert_close(loss[1, 2], per_sample_loss(name, logits[1, 2], labels[1, 2]))
    torch.testing.assert_close(grad[1, 2], gradient(name, logits[1, 2], labels[1, 2]))


@given(samples(), st.integers(0, 2**31))
@properties
def test_renaming_the_classes_changes_nothing(sample: tuple[Tensor, Tensor], seed: int) -> None:
    logits, labels = sample
    order = torch.randperm(logits.shape[-1], generator=torch.Generator().manual_seed(seed))
    new_labels = order.argsort()[labels]
    for name in LOSSES:
        torch.testing.assert_close(
            per_sample_loss(name, logits[:, order], new_labels),
            per_sample_loss(name, logits, labels),
            rtol=1e-12,
            atol=1e-13,
        )
        torch.testing.assert_close(
            gradient(name, logits[:, order], new_labels),
            gradient(name, logits, labels)[:, order],
            rtol=1e-10,
            atol=1e-14,
        )
    torch.testing.assert_close(
        suppression(logits[:, order], new_labels), suppression(logits, labels), rtol=1e-8, atol=0
    )


# Bounds


@given(samples())
@properties
def test_losses_stay_within_their_bounds(sample: tuple[Tensor, Tensor]) -> None:
    logits, labels = sample
    n_classes = logits.shape[-1]
    for name in LOSSES:
        low, high = loss_bounds(name, n_classes)
        loss = per_sample_loss(name, logits, labels)
        assert (loss >= low - 1e-13).all()
        assert (loss <= high + 1e-13).all()


@every_loss
@pytest.mark.parametrize("n_classes", [2, 5, 1000])
def test_the_bounds_are_reached(name: LossName, n_classes: int) -> None:
    certain = torch.zeros(n_classes, dtype=torch.float64)
    certain[0] = 1e4
    low, high = loss_bounds(name, n_classes)
    fits, conflicts = (per_sample_loss(name, certain, one(y)).item() for y in (0, 1))
    assert fits == pytest.approx(low, abs=1e-13)
    assert conflicts == (1e4 if name == "ce" else pytest.approx(high, abs=1e-13))


def test_dspt_spans_exactly_one() -> None:
    low, high = loss_bounds("dspt", 100)
    assert high == pytest.approx(math.log(math.e + 99), abs=1e-15)
    assert high - low == pytest.approx(1, abs=1e-15)


@given(samples(torch.float32))
@properties
def test_shown_losses_lie_in_the_unit_interval(sample: tuple[Tensor, Tensor]) -> None:
    logits, labels = sample
    for name in BOUNDED:
        shown = shift_to_unit(name, per_sample_loss(name, logits, labels), logits.shape[-1])
        assert (shown >= 0).all()
        assert (shown <= 1).all()


def test_shown_losses_are_linear_in_the_loss() -> None:
    offset = math.log(math.e + 99)
    dspt = shift_to_unit("dspt", torch.tensor([offset - 1, offset - 0.25, offset]), 100)
    torch.testing.assert_close(dspt, torch.tensor([0.0, 0.75, 1.0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(shift_to_unit("mae", torch.tensor(0.5), 100), torch.tensor(0.25))
    torch.testing.assert_close(
        shift_to_unit("gce", torch.tensor(1.0), 100, q=0.5), torch.tensor(0.5)
    )


def test_cross_entropy_is_shown_as_it_is() -> None:
    assert math.isinf(loss_bounds("ce", 10)[1])
    assert shift_to_unit("ce", torch.tensor(7.5), 10).item() == 7.5


# Gradients


@given(samples())
@properties
def test_closed_form_gradient_is_autograds(sample: tuple[Tensor, Tensor]) -> None:
    logits, labels = sample
    for name in LOSSES:
        leaf = logits.clone().requires_grad_(True)
        (expected,) = torch.autograd.grad(per_sample_loss(name, leaf, labels).sum(), leaf)
        torch.testing.assert_close(gradient(name, logits, labels), expected, rtol=1e-9, atol=1e-15)


@every_loss
def test_autograd_is_the_finite_difference(name: LossName) -> None:
    rng = torch.Generator().manual_seed(3)
    logits = torch.randn(4, 6, generator=rng, dtype=torch.float64).mul(3).requires_grad_(True)
    labels = torch.randint(6, (4,), generator=rng)
    assert torch.autograd.gradcheck(lambda z: per_sample_loss(name, z, labels), (logits,))


@given(samples())
@properties
def test_gradients_sum_to_zero_over_the_classes(sample: tuple[Tensor, Tensor]) -> None:
    for name in LOSSES:
        total = gradient(name, *sample).sum(-1)
        torch.testing.assert_close(total, torch.zeros_like(total), rtol=0, atol=1e-13)


@every_loss
@pytest.mark.parametrize("certain_of", ["label", "other"])
def test_float32_gradient_keeps_its_digits_when_the_model_is_certain(
    name: LossName, certain_of: str
) -> None:
    # 1 - p of the likeliest class is 1e-12: as a difference in float32 it would vanish.
    logits = torch.tensor([26.0, -1.5, -30.0, -28.0])
    label = one(0 if certain_of == "label" else 2)
    torch.testing.assert_close(
        gradient(name, logits, label).double(),
        gradient(name, logits.double(), label),
        rtol=1e-5,
        atol=1e-37,  # smaller ones are denormal
    )


# Saturation


@pytest.mark.parametrize("n_classes", [2, 5, 1000])
def test_a_confident_conflict_is_ignored_by_bounded_losses_alone(n_classes: int) -> None:
    logits = torch.zeros(n_classes, dtype=torch.float64)
    logits[0] = 60.0
    for name in BOUNDED:
        assert gradient(name, logits, one(1)).norm() < 1e-15
    assert gradient("ce", logits, one(1)).norm() == pytest.approx(math.sqrt(2), abs=1e-9)
    assert suppression(logits, one(1)).item() < 1e-15


@every_loss
@pytest.mark.parametrize("n_classes", [2, 5, 1000])
def test_a_fitted_sample_has_no_gradient(name: LossName, n_classes: int) -> None:
    logits = torch.zeros(n_classes, dtype=torch.float64)
    logits[0] = 60.0
    assert gradient(name, logits, one(0)).norm() < 1e-15


# Suppression


def test_suppression_is_the_ratio_of_the_gradient_norms() -> None:
    rng = torch.Generator().manual_seed(1)
    logits = torch.randn(64, 9, generator=rng, dtype=torch.float64) * 3
    labels = torch.randint(9, (64,), generator=rng)
    expected = gradient("dspt", logits, labels).norm(dim=-1) / gradient("ce", logits, labels).norm(
        dim=-1
    )
    torch.testing.assert_close(suppression(logits, labels), expected, rtol=1e-12, atol=0)


def test_suppression_of_a_doubtful_label_among_five_classes() -> None:
    # One wrong class holds 0.95 and the others share the rest.
    logits = logits_of([0.001, 0.95, 0.049 / 3, 0.049 / 3, 0.049 / 3])
    assert suppression(logits, one(0)).item() == pytest.approx(0.010, abs=5e-5)
    # MAE's own ratio is 2 p_y whatever the rest: 0.001 at NLPrompt's scale of 1 - p_y.
    mae = gradient("mae", logits, one(0)).norm() / gradient("ce", logits, one(0)).norm()
    assert mae.item() / 2 == pytest.approx(0.001, rel=1e-12)


def test_suppression_is_stronger_when_one_wrong_class_has_all_the_rest() -> None:
    logits = logits_of([0.001, 0.999 - 3e-12, 1e-12, 1e-12, 1e-12])
    # Two classes matter: the ratio is p_y (1 + q_1 - q_0), q the second softmax.
    total = math.exp(0.001) + math.exp(0.999) + 3
    expected = 0.001 * (1 + (math.exp(0.999) - math.exp(0.001)) / total)
    assert suppression(logits, one(0)).item() == pytest.approx(expected, rel=1e-9)


@given(samples())
@properties
def test_suppression_is_a_ratio_below_one(sample: tuple[Tensor, Tensor]) -> None:
    ratio = suppression(*sample)
    assert (ratio >= 0).all()
    assert (ratio < 1).all()


@pytest.mark.parametrize("n_classes", [2, 10, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_suppression_of_a_fitted_sample_is_its_limit(n_classes: int, dtype: torch.dtype) -> None:
    limit = n_classes / (math.e + n_classes - 1)
    logits = torch.zeros(n_classes, dtype=dtype)
    logits[1] = -2.0
    for margin in (22.0, 30.0, 80.0, 110.0, 1e4):
        logits[0] = margin
        assert suppression(logits, one(0)).item() == pytest.approx(limit, rel=1e-5)


# Precision and extremes


@given(samples())
@properties
def test_extreme_logits_stay_finite(sample: tuple[Tensor, Tensor]) -> None:
    logits, labels = sample
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        leaf = (logits.sign() * 1e4).to(dtype).requires_grad_(True)
        assert suppression(leaf, labels).isfinite().all()
        for name in LOSSES:
            loss = per_sample_loss(name, leaf, labels)
            assert loss.isfinite().all()
            assert gradient(name, leaf, labels).isfinite().all()
            (back,) = torch.autograd.grad(loss.sum(), leaf)
            assert back.dtype == dtype
            assert back.isfinite().all()


@given(samples())
@properties
def test_half_precision_gives_what_float32_of_it_gives(sample: tuple[Tensor, Tensor]) -> None:
    logits, labels = sample
    for dtype in (torch.float16, torch.bfloat16):
        half = logits.to(dtype)
        for name in LOSSES:
            loss = per_sample_loss(name, half, labels)
            assert loss.dtype == torch.float32
            assert torch.equal(loss, per_sample_loss(name, half.float(), labels))
            assert torch.equal(gradient(name, half, labels), gradient(name, half.float(), labels))


@every_loss
def test_autocast_does_not_lower_the_precision(name: LossName) -> None:
    rng = torch.Generator().manual_seed(5)
    logits, labels = torch.randn(6, 10, generator=rng) * 4, torch.arange(6)
    with torch.autocast("cpu", torch.bfloat16):
        loss = per_sample_loss(name, logits, labels)
    assert torch.equal(loss, per_sample_loss(name, logits, labels))


# GCE between cross-entropy and MAE


@given(samples())
@properties
def test_gce_is_half_of_mae_at_one_and_cross_entropy_near_zero(
    sample: tuple[Tensor, Tensor],
) -> None:
    logits, labels = sample
    gce, mae = (per_sample_loss(name, logits, labels, q=1.0) for name in ("gce", "mae"))
    torch.testing.assert_close(2 * gce, mae, rtol=0, atol=1e-15)
    gce, ce = (per_sample_loss(name, logits, labels, q=1e-12) for name in ("gce", "ce"))
    torch.testing.assert_close(gce, ce, rtol=1e-7, atol=0)
    gce, ce = (gradient(name, logits, labels, q=1e-12) for name in ("gce", "ce"))
    torch.testing.assert_close(gce, ce, rtol=1e-7, atol=0)


# Refusals


@pytest.mark.parametrize("q", [0.0, -0.5, 1.01, math.nan])
def test_gce_refuses_exponents_out_of_range(q: float) -> None:
    logits, label = torch.zeros(3), one(0)
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        per_sample_loss("gce", logits, label, q=q)
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        gradient("gce", logits, label, q=q)
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        loss_bounds("gce", 3, q=q)


def test_an_unknown_loss_is_named_with_the_known_ones() -> None:
    name: LossName = "hinge"  # type: ignore[assignment]
    for call in (per_sample_loss, gradient):
        with pytest.raises(ValueError, match="no loss 'hinge'; the losses are dspt, ce, gce, mae"):
            call(name, torch.zeros(3), one(0))
    with pytest.raises(ValueError, match="no loss 'hinge'"):
        loss_bounds(name, 3)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels have shape \(5,\).*need \(4,\)"):
        per_sample_loss("ce", torch.zeros(4, 3), torch.zeros(5, dtype=torch.long))
    with pytest.raises(ValueError, match="they must be integers"):
        per_sample_loss("dspt", torch.zeros(4, 3), torch.tensor([0.9, 1.0, 2.0, 0.5]))
    with pytest.raises(ValueError, match="shape"):
        suppression(torch.zeros(()), one(0))


def test_one_class_has_no_bounds() -> None:
    with pytest.raises(ValueError, match="at least 2 classes"):
        loss_bounds("dspt", 1)
