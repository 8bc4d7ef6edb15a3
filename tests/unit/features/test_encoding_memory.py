"""What encoding costs: memory within the budget, work by the sum of the lengths."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from encoding import WORDS, contexts, with_gradient
from torch import Tensor
from towers import relative_error

from dspt.backbones.base import Backbone
from dspt.backbones.text_tower import OpenClipTextTower
from dspt.prompt.learner import PromptLearner
from dspt.prompt.text_encoder import SharedPrefixEncoder


def encoder(
    backbone: Backbone, words: list[str], n_ctx: int, *, class_specific: bool = False, memory: int
) -> SharedPrefixEncoder:
    """As `PromptLearner` makes it, with another memory budget."""
    prompts = PromptLearner(backbone, words, n_ctx=n_ctx, ctx_init="random")
    tower = backbone.text_tower
    assert isinstance(tower, OpenClipTextTower)
    return SharedPrefixEncoder(
        tower,
        prompts._prefix,
        prompts._suffix,
        prompts._end - len(prompts._prefix) - n_ctx,
        n_ctx,
        class_specific=class_specific,
        memory=memory,
    )


@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize("memory", [1, 1 << 19, 1 << 21])
def test_little_memory_changes_neither_output_nor_gradient(
    tiny: Backbone, class_specific: bool, memory: int
) -> None:
    words = [WORDS[i % 5] for i in range(40)]
    ample = encoder(tiny, words, 4, class_specific=class_specific, memory=1 << 40)
    short = encoder(tiny, words, 4, class_specific=class_specific, memory=memory)
    prompts = PromptLearner(tiny, words, n_ctx=4, ctx_init="random", class_specific=class_specific)
    context = contexts(prompts, tiny, runs=2)
    ours, our_gradient = with_gradient(short.encode, context)
    theirs, their_gradient = with_gradient(ample.encode, context)
    assert relative_error(ours, theirs) < 1e-6
    assert relative_error(our_gradient, their_gradient) < 1e-5

    (plan,), (wide,) = short._plans.values(), ample._plans.values()
    assert all(chunk.kept for chunk in wide.chunks)
    assert len(plan.chunks) > len(wide.chunks)
    assert not all(chunk.kept for chunk in plan.chunks)
    if memory == 1:  # a class at a time, and nothing is kept
        assert len(plan.chunks) == 40
        assert not any(chunk.kept for chunk in plan.chunks)
    else:
        _, tape = short._forward(context, torch.float32, keep=True)
        assert tape is not None
        assert 0.2 * memory < tape_bytes(tape.chunks) < memory


def tape_bytes(tape: Any) -> int:
    """Bytes of all tensors within, each storage once."""
    found: dict[int, int] = {}

    def walk(value: Any) -> None:
        if isinstance(value, Tensor):
            found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, list | tuple):
            for part in value:
                walk(part)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            for field in dataclasses.fields(value):
                walk(getattr(value, field.name))

    walk([chunk.layers if chunk is not None else None for chunk in tape])
    return sum(found.values())


@pytest.mark.parametrize("runs", [1, 3])
def test_the_work_grows_with_the_sum_of_the_lengths(builtin: Backbone, runs: int) -> None:
    """One long name must not cost as if all were long."""
    words = [*(WORDS[i % 2] for i in range(300)), WORDS[-1]]
    prompts = PromptLearner(builtin, words, n_ctx=4, ctx_init="random")
    assert prompts._shared is not None
    plan = prompts._shared._plan(runs, torch.float32)
    tokens = sum(bucket.tokens for chunk in plan.chunks for bucket in chunk.layers.buckets)
    assert tokens <= 1.1 * sum(len(builtin.tokenizer.encode(f"{text}.")) + 1 for text in words)
