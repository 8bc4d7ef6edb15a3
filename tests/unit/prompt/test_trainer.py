"""The steps of the tuner: torch's own SGD, in an order drawn by seed, stopped and gone on with."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from towers import relative_error
from tuning import WORDS, Steps, on, rows, task, tune

from dspt.backbones.base import Backbone
from dspt.config import LossName
from dspt.errors import Cancelled
from dspt.prompt.learner import PromptLearner
from dspt.prompt.losses import per_sample_loss
from dspt.prompt.schedule import Schedule
from dspt.prompt.trainer import EpochReport, TunerState

BRIEF = Schedule(epochs=2, batch_size=8)
"""The second epoch is the first at the full learning rate."""


@pytest.fixture
def prompts(tiny: Backbone) -> PromptLearner:
    return PromptLearner(tiny, WORDS, n_ctx=3, ctx_init="random")


# ---------------------------------------------------------------------------------- the recipe


def test_learning_rates_are_coops() -> None:
    schedule = Schedule(epochs=50, batch_size=32)
    assert schedule.lr_at(0, 0.002) == 1e-5
    assert schedule.lr_at(1, 0.002) == 0.002
    assert schedule.lr_at(26, 0.002) == pytest.approx(0.001)
    assert schedule.lr_at(49, 0.002) == pytest.approx(0.001 * (1 + math.cos(math.pi * 48 / 50)))
    rates = [schedule.lr_at(epoch, 0.002) for epoch in range(1, 50)]
    assert rates == sorted(rates, reverse=True)
    assert min(rates) > 0


def test_a_single_epoch_is_not_spent_on_warming_up() -> None:
    assert Schedule(epochs=1, batch_size=32).lr_at(0, 0.002) == 0.002


@pytest.mark.parametrize(
    ("loss", "scale"), [("dspt", 30.0), ("ce", 30.0), ("gce", 30.0), ("mae", 30.0), ("dspt", 100.0)]
)
def test_a_step_is_torchs_sgd(
    prompts: PromptLearner, tiny: Backbone, loss: LossName, scale: float
) -> None:
    features, labels = task(tiny)
    schedule = Schedule(epochs=6, batch_size=100)  # one step an epoch, over all rows
    context = prompts.initial(1).requires_grad_()
    optimiser = torch.optim.SGD([context], lr=1, momentum=0.9, weight_decay=5e-4)
    for epoch in range(6):
        optimiser.param_groups[0]["lr"] = schedule.lr_at(epoch, 0.5)
        optimiser.zero_grad()
        logits = scale * features[:, 0] @ prompts.encode(context[None])[0].T
        per_sample_loss(loss, logits, labels).mean().backward()
        optimiser.step()
    ours = tune(prompts, features, labels, [on(24, loss, lr=0.5)], schedule, logit_scale=scale)
    moved = (context.detach() - prompts.initial(1)).norm()
    assert moved > 0.1 * prompts.initial(1).norm()
    assert (ours[0] - context.detach()).norm() < 1e-4 * moved


def test_the_gradient_is_scaled_and_the_weight_decay_is_not(
    prompts: PromptLearner, tiny: Backbone
) -> None:
    features, labels = task(tiny)
    schedule = Schedule(epochs=1, batch_size=100)
    runs = [on(24, "ce", lr=0.5)]
    start = prompts.initial(1)
    decayed = tune(prompts, features, labels, runs, schedule, gradient_scale=0.0)[0]
    torch.testing.assert_close(decayed, start * (1 - 0.5 * 5e-4))
    once, thrice = (
        tune(prompts, features, labels, runs, schedule, gradient_scale=s)[0] for s in (1.0, 3.0)
    )
    assert relative_error(thrice - decayed, 3 * (once - decayed)) < 1e-4


def test_the_result_needs_no_gradient(prompts: PromptLearner, tiny: Backbone) -> None:
    found = tune(prompts, *task(tiny), [on(24, "ce")])
    assert found.shape == (1, 3, 32)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert found.is_leaf


# ------------------------------------------------------------------------------- order of samples


def test_a_run_without_rows_is_refused(prompts: PromptLearner, tiny: Backbone) -> None:
    with pytest.raises(ValueError, match="no rows"):
        tune(prompts, *task(tiny), [on(24), on(0)])


def test_every_epoch_shows_every_row_once_in_a_new_order(
    prompts: PromptLearner, tiny: Backbone
) -> None:
    features, labels = task(tiny)
    steps: Any = Steps(features)
    tune(prompts, steps, labels, [on(rows(*range(5, 21)))], Schedule(epochs=3, batch_size=4))
    asked = torch.stack(steps.asked).view(3, 16)  # 4 steps of 4 in each of 3 epochs
    assert all(sorted(epoch) == list(range(5, 21)) for epoch in asked.tolist())
    assert len({tuple(epoch) for epoch in asked.tolist()}) == 3


def test_each_run_draws_from_its_own_rows(prompts: PromptLearner, tiny: Backbone) -> None:
    features, labels = task(tiny)
    steps: Any = Steps(features)
    parts = [rows(0, 1, 2, 3, 4, 5), rows(6, 7, 8), rows(9, 10, 11, 12, 13, 14, 15, 16)]
    runs = [on(part, "ce", seed=seed) for seed, part in enumerate(parts)]
    tune(prompts, steps, labels, runs, Schedule(epochs=2, batch_size=4))
    for run, part in enumerate(parts):
        assert {int(row) for step in steps.asked for row in step[run]} == set(part.tolist())


def test_a_small_run_does_not_change_the_batches_of_the_largest(
    prompts: PromptLearner, tiny: Backbone
) -> None:
    features, labels = task(tiny)
    schedule = Schedule(epochs=2, batch_size=8)
    alone: Any = Steps(features)
    beside: Any = Steps(features)
    tune(prompts, alone, labels, [on(24, "ce")], schedule)
    tune(prompts, beside, labels, [on(24, "ce"), on(rows(3, 4), "ce")], schedule)
    assert len(alone.asked) == len(beside.asked) == 6
    for step, other in zip(alone.asked, beside.asked, strict=True):
        assert torch.equal(step[0], other[0])


def test_views_are_all_drawn(prompts: PromptLearner, tiny: Backbone) -> None:
    features, labels = task(tiny, views=3)
    # Each view points elsewhere, so that a run which saw one view alone would end elsewhere.
    found = tune(prompts, features, labels, [on(24, "ce")], BRIEF)
    for view in range(3):
        only = tune(prompts, features[:, view : view + 1], labels, [on(24, "ce")], BRIEF)
        assert relative_error(found, only) > 1e-3


# -------------------------------------------------------------------------- seeds and neighbours


def test_a_seed_gives_the_same_bits(prompts: PromptLearner, tiny: Backbone) -> None:
    features, labels = task(tiny, views=2)
    once, again, other = (
        tune(prompts, features, labels, [on(24, "dspt", seed=seed)], BRIEF) for seed in (1, 1, 2)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_the_global_random_state_neither_matters_nor_changes(
    prompts: PromptLearner, tiny: Backbone
) -> None:
    features, labels = task(tiny, views=2)
    torch.manual_seed(1)
    once = tune(prompts, features, labels, [on(24, "dspt")], BRIEF)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(tune(prompts, features, labels, [on(24, "dspt")], BRIEF), once)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("class_specific", [False, True])
def test_a_run_ends_the_same_alone_and_beside_others(tiny: Backbone, class_specific: bool) -> None:
    prompts = PromptLearner(tiny, WORDS, n_ctx=3, ctx_init="random", class_specific=class_specific)
    features, labels = task(tiny, views=2)
    runs = [
        on(16, "dspt"),
        on(rows(*range(8, 24)), "ce", lr=0.02, seed=2),
        on(16, "gce", seed=3),
        on(rows(*range(4, 20)), "mae", seed=4),
        on(rows(*range(8, 24)), "dspt", seed=5),
    ]
    together = tune(prompts, features, labels, runs, BRIEF)
    for run, found in zip(runs, together, strict=True):
        alone = tune(prompts, features, labels, [run], BRIEF)[0]
        moved = (alone - prompts.initial(run.seed)).norm()
        assert moved > 0
        assert (found - alone).norm() < 1e-3 * moved


# ------------------------------------------------------------------------------- stop and resume


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_stops_between_two_steps(prompts: PromptLearner, tiny: Backbone, steps: int) -> None:
    features, labels = task(tiny)
    asked: Any = Steps(features)
    epochs: list[int] = []
    with pytest.raises(Cancelled):
        tune(
            prompts,
            asked,
            labels,
            [on(24, "ce")],  # 3 steps an epoch
            should_stop=lambda: len(asked.asked) == steps,
            on_epoch=lambda report, state: epochs.append(report.epoch),
        )
    assert len(asked.asked) == steps
    assert epochs == ([1] if steps >= 3 else [])


@pytest.mark.parametrize("done", [1, 3, 5])
def test_going_on_gives_the_bits_of_an_unbroken_run(
    prompts: PromptLearner, tiny: Backbone, done: int
) -> None:
    features, labels = task(tiny, views=2)
    runs = [on(24, "dspt"), on(rows(*range(6, 24)), "ce", seed=2)]
    kept: dict[int, TunerState] = {}
    reports: list[EpochReport] = []

    def keep(report: EpochReport, state: TunerState) -> None:
        reports.append(report)
        kept[report.epoch] = TunerState(state.epoch, state.context.clone(), state.momentum.clone())

    whole = tune(prompts, features, labels, runs, on_epoch=keep)
    assert [report.epoch for report in reports] == [1, 2, 3, 4, 5]
    later: list[EpochReport] = []
    resumed = tune(
        prompts,
        features,
        labels,
        runs,
        state=kept[done],
        on_epoch=lambda report, state: later.append(report),
    )
    assert torch.equal(resumed, whole)
    assert later == reports[done:]


# ---------------------------------------------------------------------------------- imbalance


def test_images_of_a_small_class_have_more_weight(prompts: PromptLearner, tiny: Backbone) -> None:
    """As if the images of the small class were given several times."""
    features, labels = task(tiny)
    one_of_class_0 = rows(0, *range(1, 24, 3), *range(2, 24, 3))  # 1, 8 and 8 images
    schedule = Schedule(epochs=2, batch_size=200)
    found = tune(prompts, features, labels, [on(one_of_class_0)], schedule)
    # (8 + 1) / (1 + 1) = 4.5: this row nine times, and the others twice
    repeated = rows(*[0] * 9, *[row for row in one_of_class_0.tolist() if row] * 2)
    expected = tune(prompts, features[repeated], labels[repeated], [on(len(repeated))], schedule)
    moved = (expected - prompts.initial(1)).norm()
    assert (found - expected).norm() < 1e-3 * moved
