"""Steps that encode some of the classes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from towers import relative_error
from tuning import SCALE, on, rows, tune

from dspt.backbones.base import Backbone
from dspt.classifier.fit import fit
from dspt.config import TuneConfig
from dspt.errors import Cancelled
from dspt.prompt.class_draw import ClassDraw
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings
from dspt.prompt.losses import per_sample_loss
from dspt.prompt.schedule import Schedule, drawn_order, plan_order
from dspt.prompt.step import Step
from dspt.prompt.text_encoder import PlainEncoder
from dspt.prompt.trainer import EpochReport, TunerState, tune_contexts
from tests.simulated_gpu import DEVICE, SimulatedGpu

WORDS = [
    *("dog", "cat", "fire truck", "steam locomotive", "moon", "cup of black coffee", "ship"),
    *("aircraft carrier", "sea", "tree", "very old oak tree", "bicycle", "desk lamp"),
]
C = len(WORDS)
SHOTS = 4
SCHEDULE = Schedule(epochs=3, batch_size=100, step_classes=4)


@pytest.fixture(params=[False, True], ids=["shared", "class_specific"])
def prompts(tiny: Backbone, request: pytest.FixtureRequest) -> PromptLearner:
    return PromptLearner(
        tiny, WORDS, n_ctx=3, ctx_init="random", class_specific=bool(request.param)
    )


@pytest.fixture
def task(tiny: Backbone) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(SHOTS * C) % C
    noise = torch.randn(len(labels), 1, tiny.embed_dim, generator=torch.Generator().manual_seed(3))
    centres = zero_shot_embeddings(tiny, WORDS)[labels, None]
    return torch.nn.functional.normalize(
        centres + 0.3 * noise / tiny.embed_dim**0.5, dim=-1
    ), labels


def by_group(draw: ClassDraw, prompts: PromptLearner, seed: int = 0) -> list[torch.Tensor]:
    classes = torch.from_numpy(draw.draw(np.random.default_rng(seed)))[0]
    return list(classes.split(draw.sizes))


def test_drawn_classes_have_the_embeddings_they_have_among_all(prompts: PromptLearner) -> None:
    draw = ClassDraw(prompts, 4, 1)
    context = torch.stack([prompts.initial(1), prompts.initial(2)])
    classes = by_group(draw, prompts)
    found, among_all = prompts.encode(context, classes), prompts.encode(context)
    assert relative_error(found, among_all[:, torch.cat(classes)]) < 1e-5


def test_drawn_classes_on_a_tower_without_a_causal_mask(tiny: Backbone) -> None:

    learner = PromptLearner(tiny, WORDS, n_ctx=3, ctx_init="random")
    encoder: Any = learner._encoder
    head = 1 + learner.n_ctx
    start, suffix = learner._prefix, learner._suffix
    plain = PlainEncoder(tiny.text_tower, start, suffix, encoder._end + head)
    learner._encoder = plain
    assert learner.length_groups == [list(range(C))]
    context = torch.stack([learner.initial(1), learner.initial(2)])
    drawn = torch.tensor([7, 2, 5])
    assert (
        relative_error(learner.encode(context, [drawn]), learner.encode(context)[:, drawn]) < 1e-5
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_epoch_encodes_every_class_in_steps_of_one_shape(tiny: Backbone, seed: int) -> None:
    prompts = PromptLearner(tiny, WORDS, n_ctx=3, ctx_init="random")
    draw = ClassDraw(prompts, 4, 1)
    found = draw.draw(np.random.default_rng(seed))
    assert found.shape == (draw.steps, sum(draw.sizes)) == (4, sum(draw.sizes))
    assert set(found.ravel().tolist()) == set(range(C))
    group_of = {c: i for i, group in enumerate(prompts.length_groups) for c in group}
    for classes in found.tolist():
        assert len(set(classes)) == len(classes)
        assert [group_of[c] for c in classes] == sorted(group_of[c] for c in classes)
    other = draw.draw(np.random.default_rng(seed + 1))
    assert not np.array_equal(found, other)


def test_an_epoch_shows_each_image_once_beside_its_class(tiny: Backbone) -> None:
    prompts = PromptLearner(tiny, WORDS, n_ctx=3, ctx_init="random")
    draw = ClassDraw(prompts, 4, 1)
    labels = np.arange(SHOTS * C) % C
    runs = [on(len(labels)), on(rows(*range(0, len(labels), 2)), seed=2)]
    shown, views, classes = drawn_order(runs, 40, 2, 3, 0, draw, labels)
    assert shown.shape == views.shape == (2 * draw.steps, 2, 40)
    assert classes.shape == (2 * draw.steps, sum(draw.sizes))
    assert set(views.ravel().tolist()) == {0, 1, 2}
    for i, run in enumerate(runs):
        beside = [
            set(step[i].tolist())
            for step, drawn in zip(shown, classes, strict=True)
            if set(labels[step[i]].tolist()) <= set(drawn.tolist())
        ]
        seen = [row for step in beside for row in step]
        assert sorted(seen) == sorted(run.rows.tolist())


def test_an_epoch_shows_all_images_of_classes_of_different_sizes(tiny: Backbone) -> None:
    prompts = PromptLearner(tiny, WORDS, n_ctx=3, ctx_init="random")
    labels = torch.tensor([*range(C), *range(C), *[0] * 40])
    schedule = Schedule(epochs=1, batch_size=2048, step_classes=4)
    plan = plan_order(prompts, [on(len(labels))], schedule, 1, labels)
    shown, _, _ = plan.of_epoch(0)
    assert set(shown.ravel().tolist()) == set(range(len(labels)))


def test_a_step_without_images_of_its_classes_is_not_reported(
    prompts: PromptLearner, task: tuple[torch.Tensor, torch.Tensor]
) -> None:
    features, labels = task
    row = int((labels == 0).nonzero()[0])
    reports: list[EpochReport] = []
    tune_contexts(
        prompts,
        features,
        labels,
        [on(rows(row))],
        Schedule(epochs=1, batch_size=8, step_classes=4),
        logit_scale=SCALE,
        gradient_scale=1.0,
        on_epoch=lambda report, state: reports.append(report),
    )
    assert 0 <= reports[0].loss <= 1


def test_a_step_is_the_gradient_of_the_softmax_over_its_classes(
    prompts: PromptLearner, task: tuple[torch.Tensor, torch.Tensor]
) -> None:
    features, labels = task
    draw = ClassDraw(prompts, 4, 1)
    classes = by_group(draw, prompts)
    flat = torch.cat(classes)
    chosen = torch.isin(labels, flat).nonzero()[:, 0]
    outside = (~torch.isin(labels, flat)).nonzero()[:1, 0]
    balance = 1 + torch.rand(1, len(labels), generator=torch.Generator().manual_seed(5))
    context = prompts.initial(1)[None]
    step = Step(
        context,
        torch.zeros_like(context),
        features,
        labels,
        balance,
        [("dspt", slice(None))],
        len(chosen) + 1,
        encode=prompts.encode,
        drawn=draw.sizes,
        n_classes=C,
        logit_scale=SCALE,
        gradient_scale=1.0,
        autocast=None,
    )
    lr = torch.ones(1, *[1] * (context.ndim - 1))
    sample = torch.cat([chosen, outside])[None]  # the last has another class, and no weight
    step.load(sample, torch.zeros_like(sample), lr, flat)
    step.run()
    leaf = context.clone().requires_grad_()
    position = torch.full((C,), -1).scatter(0, flat, torch.arange(len(flat)))
    logits = SCALE * features[chosen, 0] @ prompts.encode(leaf)[0, flat].T
    loss = per_sample_loss("dspt", logits, position[labels[chosen]])
    (loss * balance[0, chosen]).sum().div(balance[0, chosen].sum()).backward()
    expected = leaf.grad + 5e-4 * context if leaf.grad is not None else None
    assert expected is not None
    assert relative_error(context - step.context, expected) < 1e-3


def test_few_classes_give_the_bits_they_give_without(
    tiny: Backbone, task: tuple[torch.Tensor, torch.Tensor]
) -> None:
    prompts = PromptLearner(tiny, WORDS, n_ctx=3, ctx_init="random")
    few = Schedule(epochs=3, batch_size=100, step_classes=-(-C // 2))
    assert torch.equal(
        tune(prompts, *task, [on(20)], few), tune(prompts, *task, [on(20)], Schedule(3, 100))
    )
    assert not torch.equal(
        tune(prompts, *task, [on(20)], SCHEDULE), tune(prompts, *task, [on(20)], few)
    )


@pytest.mark.parametrize("done", [1, 2])
def test_going_on_gives_the_bits_of_an_unbroken_run(
    prompts: PromptLearner, task: tuple[torch.Tensor, torch.Tensor], done: int
) -> None:
    runs = [on(SHOTS * C, "dspt"), on(rows(*range(6, 24)), "ce", seed=2)]
    kept: dict[int, TunerState] = {}

    def keep(report: EpochReport, state: TunerState) -> None:
        kept[report.epoch] = TunerState(state.epoch, state.context.clone(), state.momentum.clone())

    whole = tune(prompts, *task, runs, SCHEDULE, on_epoch=keep)
    assert torch.isfinite(whole).all()
    assert torch.equal(tune(prompts, *task, runs, SCHEDULE, state=kept[done]), whole)


def test_runs_side_by_side_learn_what_each_learns_alone(
    prompts: PromptLearner, task: tuple[torch.Tensor, torch.Tensor]
) -> None:
    runs = [on(SHOTS * C, "ce"), on(SHOTS * C, "dspt"), on(SHOTS * C, "mae", lr=0.2)]
    found = tune(prompts, *task, runs, SCHEDULE)
    for run, context in zip(runs, found, strict=True):
        moved = tune(prompts, *task, [run], SCHEDULE)[0] - prompts.initial(run.seed)
        assert relative_error(context - prompts.initial(run.seed), moved) < 1e-4


def test_runs_side_by_side_leave_the_number_of_threads_as_it_was(
    prompts: PromptLearner, task: tuple[torch.Tensor, torch.Tensor]
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        stops = iter([False, True])
        with pytest.raises(Cancelled):
            tune(prompts, *task, [on(SHOTS * C)] * 2, SCHEDULE, should_stop=lambda: next(stops))
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 2
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_gpu_learns_the_same_and_waits_for_the_reports_alone(
    tiny: Backbone, task: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 << 33, 1 << 33))
    expected = tune(PromptLearner(tiny, WORDS), *task, [on(SHOTS * C)], SCHEDULE)
    waits, contexts = [], []
    for epochs in (SCHEDULE.epochs, 2 * SCHEDULE.epochs):
        with SimulatedGpu() as gpu:
            prompts = PromptLearner(gpu.move(tiny), WORDS)
            moved = [part.to(DEVICE, non_blocking=True) for part in task]
            contexts.append(tune(prompts, *moved, [on(SHOTS * C)], Schedule(epochs, 100, 4)))
            waits.append(sum(gpu.waits.values()))
            contexts[-1] = contexts[-1].cpu()
    assert waits[0] == waits[1]
    assert relative_error(contexts[0], expected) < 1e-4


def test_a_job_draws_from_more_than_twice_the_classes_of_a_step(
    tiny: Backbone, task: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TuneConfig(epochs=3, batch_size=100, lr=0.1, loss="ce", precision="float32")

    def tuned() -> torch.Tensor:
        prompts = PromptLearner(tiny, WORDS)
        return fit(tiny, prompts, zero_shot_embeddings(tiny, WORDS), *task, config)[0]

    of_all = tuned()
    monkeypatch.setattr("dspt.classifier.fit.STEP_CLASSES", -(-C // 2))
    assert torch.equal(tuned(), of_all)
    monkeypatch.setattr("dspt.classifier.fit.STEP_CLASSES", 4)
    assert not torch.equal(tuned(), of_all)
