"""What encoding costs: memory within the budget, work by the sum of the lengths."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from encoding import WORDS, contexts, with_gradient
from torch import Tensor
from towers import LetterTokenizer, backbone_of, open_clip_model, relative_error

from dspt.backbones.base import Backbone
from dspt.backbones.text_tower import OpenClipTextTower, open_clip_text_tower
from dspt.prompt.learner import PromptLearner
from dspt.prompt.text_encoder import _CHUNK_TOKENS, PlainEncoder, SharedPrefixEncoder


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
    count = 10 if memory == 1 else 40
    words = [WORDS[i % 5] for i in range(count)]
    ample = encoder(tiny, words, 4, class_specific=class_specific, memory=1 << 40)
    short = encoder(tiny, words, 4, class_specific=class_specific, memory=memory)
    prompts = PromptLearner(tiny, words, n_ctx=4, ctx_init="random", class_specific=class_specific)
    context = contexts(prompts, tiny, runs=2)
    ours, our_gradient = with_gradient(short.encode, context)
    theirs, their_gradient = with_gradient(ample.encode, context)
    assert relative_error(ours, theirs) < 1e-6
    assert relative_error(our_gradient, their_gradient) < 1e-5

    ((chunks, _),), ((wide, _),) = short._plans.values(), ample._plans.values()
    assert all(chunk.keep for chunk in wide)
    assert len(chunks) > len(wide)
    assert not all(chunk.keep for chunk in chunks)
    if memory == 1:  # a class at a time, and nothing is kept
        assert len(chunks) == count
        assert not any(chunk.keep for chunk in chunks)
    else:
        kept = kept_bytes(tiny, lambda: short.encode(context.requires_grad_()))
        assert 0.2 * memory < kept < 1.2 * memory


@pytest.mark.parametrize("class_specific", [False, True])
def test_a_tower_without_a_causal_mask_keeps_to_its_budget(class_specific: bool) -> None:
    tower = open_clip_text_tower(open_clip_model("ViT-B-16-SigLIP"), pad_id=1)
    backbone = backbone_of(tower, tower.width, tokenizer=LetterTokenizer())
    words = ["dog", "cat", "steam train", "fire truck", "owl", "bee"]
    prompts = PromptLearner(
        backbone, words, n_ctx=4, ctx_init="random", class_specific=class_specific
    )
    context = contexts(prompts, backbone, runs=1)

    def encoder(memory: int) -> PlainEncoder:
        return PlainEncoder(
            tower,
            prompts._prefix,
            prompts._suffix,
            prompts._end,
            class_specific=class_specific,
            memory=memory,
        )

    estimate = len(words) * tower.context_length * tower.bytes_per_token(tower.context_length)
    ample, short = encoder(1 << 40), encoder(memory := int(0.6 * estimate))
    whole = kept_bytes(backbone, lambda: ample.encode(context.requires_grad_()))
    bounded = kept_bytes(backbone, lambda: short.encode(context.requires_grad_()))
    assert whole < estimate < 2 * whole
    assert 0 < bounded < min(memory, 0.5 * whole)
    ours, our_gradient = with_gradient(short.encode, context)
    theirs, their_gradient = with_gradient(ample.encode, context)
    assert relative_error(ours, theirs) < 1e-5
    assert relative_error(our_gradient, their_gradient) < 1e-5


def kept_bytes(backbone: Backbone, function: Callable[[], Tensor]) -> int:
    """Bytes that autograd keeps for the backward pass of `function`, each storage once.

    Weights are not counted: they are there anyway.
    """
    tower = backbone.text_tower
    assert isinstance(tower, OpenClipTextTower)
    weights = {weight.untyped_storage().data_ptr() for weight in tower._text.parameters()}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = function()
    assert output.requires_grad
    return sum(found.values())


@pytest.mark.parametrize("runs", [1, 3])
def test_the_work_grows_with_the_sum_of_the_lengths(builtin: Backbone, runs: int) -> None:
    """One long name must not cost as if all were long."""
    words = [*(WORDS[i % 2] for i in range(300)), WORDS[-1]]
    prompts = PromptLearner(builtin, words, n_ctx=4, ctx_init="random")
    assert isinstance(prompts._encoder, SharedPrefixEncoder)
    chunks, _ = prompts._encoder._plan(runs, torch.float32)
    tokens = [sum(c * length for c, length in chunk.layout.groups) for chunk in chunks]
    assert max(tokens) <= _CHUNK_TOKENS["cpu"] // runs
    assert sum(tokens) <= 1.1 * sum(len(builtin.tokenizer.encode(f"{text}.")) + 1 for text in words)
