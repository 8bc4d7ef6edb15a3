"""What a tuned context must not depend on, what it learns, and what is reported on the way."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from towers import relative_error, rescaled
from tuning import LOSSES, SCALE, WORDS, on, task, tune

from dspt.backbones.base import Backbone
from dspt.config import LossName
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings
from dspt.prompt.losses import per_sample_loss, shift_to_unit, suppression
from dspt.prompt.schedule import Schedule
from dspt.prompt.trainer import EpochReport, lr_scale_for

# ----------------------------------------------- what the result must not depend on by accident


@pytest.mark.parametrize(
    ("loss", "factor", "ctx_init"),
    [
        ("dspt", 0.2, "a photo of a"),
        ("ce", 10.0, "random"),
    ],
)
def test_the_size_of_token_embeddings_does_not_matter(
    tiny: Backbone, loss: LossName, factor: float, ctx_init: str
) -> None:
    features, labels = task(tiny, n=12, ease=0.05)
    found = []
    for backbone in (tiny, rescaled(tiny, factor)):
        prompts = PromptLearner(backbone, WORDS, ctx_init=ctx_init, n_ctx=4)
        context = tune(
            prompts,
            features,
            labels,
            [on(12, loss)],
            Schedule(epochs=6, batch_size=4),
            gradient_scale=lr_scale_for(backbone.text_tower.embedding_std),
        )
        found.append((prompts.encode(prompts.initial(1)[None])[0], prompts.encode(context)[0]))
    (before, after), (_, rescaled_after) = found
    moved = (after - before).norm()
    assert moved > 0.01
    assert (rescaled_after - after).norm() < 1e-3 * moved


def test_without_the_step_scale_it_would_matter(tiny: Backbone) -> None:
    """The rule above is what makes it so."""
    features, labels = task(tiny, n=12, ease=0.05)
    found = []
    for backbone in (tiny, rescaled(tiny, 10.0)):
        prompts = PromptLearner(backbone, WORDS)
        context = tune(prompts, features, labels, [on(12, "ce")])
        found.append(prompts.encode(context)[0])
    assert relative_error(found[1], found[0]) > 0.05


def test_step_scale() -> None:
    assert lr_scale_for(0.015) == pytest.approx(1)
    assert lr_scale_for(0.030) == pytest.approx(4)  # grows with the variance


# -------------------------------------------------------------------------------- what it learns


def test_dspt_ignores_a_confidently_wrong_label_and_cross_entropy_learns_it(
    builtin: Backbone,
) -> None:
    features, truth = task(builtin)
    given = truth.clone()
    given[4] = 0  # a fire truck, the model is sure, called a dog
    prompts = PromptLearner(builtin, WORDS, class_specific=True)
    before = SCALE * features[:, 0] @ zero_shot_embeddings(builtin, WORDS).T
    assert before.argmax(1).tolist() == truth.tolist()
    assert float(suppression(before, given)[4]) < 0.1

    losses: list[LossName] = ["dspt", "ce"]
    runs = [on(24, loss) for loss in losses]
    contexts = tune(prompts, features, given, runs, Schedule(epochs=20, batch_size=24))
    p_given = {}
    for loss, embeddings in zip(losses, prompts.encode(contexts), strict=True):
        logits = SCALE * features[:, 0] @ embeddings.T
        p_given[loss] = logits.softmax(1).gather(1, given[:, None])[:, 0]
        assert float(p_given[loss][5:].mean()) > 0.9  # both fit what is right
    assert p_given["dspt"][4] < 0.1
    assert p_given["ce"][4] > 0.5


@pytest.mark.parametrize("loss", LOSSES)
def test_tuning_lowers_the_loss(builtin: Backbone, loss: LossName) -> None:
    features, labels = task(builtin, n=12, ease=0.1)
    reports: list[EpochReport] = []
    prompts = PromptLearner(builtin, WORDS)
    tune(
        prompts,
        features,
        labels,
        [on(12, loss, lr=0.02)],
        Schedule(epochs=5, batch_size=12),
        on_epoch=lambda report, state: reports.append(report),
    )
    assert reports[-1].loss < reports[0].loss


# --------------------------------------------------------------------------------------- reports


@pytest.mark.parametrize("loss", LOSSES)
def test_a_report_says_what_the_epoch_was(tiny: Backbone, loss: LossName) -> None:
    features, labels = task(tiny, n=12, ease=0.05)
    labels[:5] = (labels[:5] + 1) % 3
    prompts = PromptLearner(tiny, WORDS)
    reports: list[EpochReport] = []
    tune(
        prompts,
        features,
        labels,
        [on(12, loss), on(12, "ce", seed=2)],
        Schedule(epochs=2, batch_size=4),
        gradient_scale=0.0,  # stay where it is, but for a weight decay of 1e-5 * 5e-4
        on_epoch=lambda report, state: reports.append(report),
    )
    logits = SCALE * features[:, 0] @ zero_shot_embeddings(tiny, WORDS).T
    report = reports[0]
    expected = shift_to_unit(loss, per_sample_loss(loss, logits, labels), 3).mean()
    assert report.epoch == 1
    assert report.lr == 1e-5
    assert report.loss == pytest.approx(float(expected), rel=1e-4)
    assert report.train_accuracy == pytest.approx(
        float((logits.argmax(1) == labels).float().mean())
    )
    ignored = (suppression(logits, labels) < 0.1).float().mean()
    assert report.suppressed == pytest.approx(float(ignored))
    assert 0 < report.suppressed < 1
    assert 0 < report.train_accuracy < 1
    assert [r.epoch for r in reports] == [1, 2]
    assert reports[1].lr == pytest.approx(0.1)


@pytest.mark.parametrize("loss", ["dspt", "gce", "mae"])
def test_reports_stay_in_range_when_every_label_is_wrong(tiny: Backbone, loss: LossName) -> None:
    features, labels = task(tiny, n=12)
    reports: list[EpochReport] = []
    tune(
        PromptLearner(tiny, WORDS),
        features,
        (labels + 1) % 3,
        [on(12, loss)],
        on_epoch=lambda report, state: reports.append(report),
        logit_scale=100.0,
    )
    assert reports[0].loss > 0.9
    assert reports[0].suppressed > 0.5
    for report in reports:
        for share in (report.loss, report.train_accuracy, report.suppressed):
            assert 0 <= share <= 1
        assert all(math.isfinite(value) for value in dataclasses.astuple(report))


def test_bfloat16_ends_near_float32(builtin: Backbone) -> None:
    features, labels = task(builtin, n=12, ease=0.05)
    prompts = PromptLearner(builtin, WORDS)
    schedule = Schedule(epochs=6, batch_size=12)
    exact, coarse = (
        tune(prompts, features, labels, [on(12, "ce")], schedule, autocast=dtype)
        for dtype in (None, torch.bfloat16)
    )
    assert coarse.dtype == torch.float32
    moved = (exact - prompts.initial(1)).norm()
    assert (coarse - exact).norm() < 0.2 * moved


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_ends_near_the_processor() -> None:
    from dspt.backbones.builtin import load_builtin

    found = []
    for device in ("cpu", "cuda"):
        backbone = load_builtin(device)
        prompts = PromptLearner(backbone, WORDS)
        features, labels = task(load_builtin(), n=12, ease=0.05)
        context = tune(prompts, features.to(device), labels.to(device), [on(12, "ce")])
        assert context.device.type == device
        found.append(context.cpu())
    assert relative_error(found[1], found[0]) < 1e-2
