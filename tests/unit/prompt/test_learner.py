"""PromptLearner: lengths, starting points, what does not fit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers
from torch.nn import functional as F
from towers import relative_error, rescaled

from dspt.backbones.base import Backbone
from dspt.backbones.tokenizer import HubTokenizer
from dspt.errors import ConfigError, PromptTooLong
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings

WORDS = ["cat", "fire truck", "old steam locomotive"]


def test_words_give_their_own_embeddings(builtin: Backbone) -> None:
    prompts = PromptLearner(builtin, WORDS, ctx_init="a photo of a")
    ids = builtin.tokenizer.encode("a photo of a")
    assert prompts.n_ctx == len(ids) == 4
    expected = builtin.text_tower.embed(torch.tensor(ids))
    assert torch.equal(prompts.initial(1), expected)
    assert torch.equal(prompts.initial(2), expected)
    assert prompts.initial(1).dtype == torch.float32


def test_class_specific_words_start_every_class_alike(builtin: Backbone) -> None:
    shared = PromptLearner(builtin, WORDS, ctx_init="a photo of a").initial(1)
    own = PromptLearner(builtin, WORDS, ctx_init="a photo of a", class_specific=True).initial(1)
    assert own.shape == (3, 4, 256)
    for context in own:
        assert torch.equal(context, shared)
    own[0] += 1  # one class's context is not another's
    assert torch.equal(own[1], shared)


def test_a_caller_cannot_change_the_frozen_embeddings(builtin: Backbone) -> None:
    prompts = PromptLearner(builtin, WORDS)
    before = prompts.initial(1)
    prompts.initial(1).zero_()
    assert torch.equal(prompts.initial(1), before)
    assert not before.requires_grad


@pytest.mark.parametrize(("n_ctx", "length"), [(None, 16), (1, 1), (5, 5)])
def test_length_of_a_random_context(tiny: Backbone, n_ctx: int | None, length: int) -> None:
    assert PromptLearner(tiny, WORDS, n_ctx=n_ctx, ctx_init="random").initial(0).shape == (
        length,
        32,
    )
    own = PromptLearner(tiny, WORDS, n_ctx=n_ctx, ctx_init="random", class_specific=True)
    assert own.initial(0).shape == (3, length, 32)


def test_a_random_context_is_drawn_by_seed(tiny: Backbone) -> None:
    prompts = PromptLearner(tiny, WORDS, ctx_init="random")
    assert torch.equal(prompts.initial(0), prompts.initial(0))
    assert not torch.equal(prompts.initial(0), prompts.initial(1))
    state = torch.get_rng_state()
    prompts.initial(3)
    assert torch.equal(torch.get_rng_state(), state)


def test_class_specific_random_contexts_differ(tiny: Backbone) -> None:
    context = PromptLearner(tiny, WORDS, ctx_init="random", class_specific=True).initial(0)
    assert not torch.equal(context[0], context[1])


@pytest.mark.parametrize("factor", [1.0, 0.1, 20.0])
def test_a_random_context_has_the_size_of_token_embeddings(
    builtin: Backbone, factor: float
) -> None:
    backbone = rescaled(builtin, factor)
    context = PromptLearner(backbone, WORDS, n_ctx=60, ctx_init="random").initial(0)
    # CoOp: 0.02 where CLIP's token embeddings have about 0.015
    expected = 0.02 / 0.015 * float(backbone.text_tower.embed(torch.arange(49408)).std())
    assert float(context.std()) == pytest.approx(expected, rel=0.02)
    assert abs(float(context.mean())) < 0.05 * expected


@pytest.mark.parametrize("n_ctx", [3, 5, 16])
def test_a_length_that_contradicts_the_words(tiny: Backbone, n_ctx: int) -> None:
    with pytest.raises(ConfigError, match=f"n_ctx is {n_ctx}, but .* has 4 tokens") as caught:
        PromptLearner(tiny, WORDS, n_ctx=n_ctx, ctx_init="a photo of a")
    assert caught.value.param == "n_ctx"
    assert "random" in caught.value.message


def test_a_length_that_agrees_with_the_words(tiny: Backbone) -> None:
    assert PromptLearner(tiny, WORDS, n_ctx=4, ctx_init="a photo of a").n_ctx == 4


def test_words_without_a_token(tiny: Backbone) -> None:
    with pytest.raises(ConfigError, match="has no tokens") as caught:
        PromptLearner(tiny, WORDS, ctx_init=" ")
    assert caught.value.param == "ctx_init"


def test_a_prompt_too_long_names_its_class(tiny: Backbone) -> None:
    # 77 places: start, 16 of context, "." and end leave 58 for the words
    fits, too_long = " ".join(["cat"] * 58), " ".join(["cat"] * 59)
    PromptLearner(tiny, ["dog", fits], ctx_init="random")
    with pytest.raises(PromptTooLong, match="77 tokens") as caught:
        PromptLearner(tiny, ["dog", fits, too_long], ctx_init="random")
    assert caught.value.param == too_long
    assert repr(too_long) in caught.value.message
    assert "dog" not in caught.value.message


def test_many_prompts_too_long_are_counted(tiny: Backbone) -> None:
    words = [f"{i} " + " ".join(["cat"] * 80) for i in range(7)]
    with pytest.raises(PromptTooLong, match=r"'4 cat[^,]*' and 2 more; shorten") as caught:
        PromptLearner(tiny, words)
    assert "'5 cat" not in caught.value.message


def test_a_context_that_leaves_no_room(tiny: Backbone) -> None:
    with pytest.raises(PromptTooLong, match="fewer context vectors"):
        PromptLearner(tiny, ["dog"], n_ctx=74, ctx_init="random")
    assert PromptLearner(tiny, ["dog"], n_ctx=73, ctx_init="random").n_ctx == 73


def test_embeddings_have_unit_length_and_follow_the_order_of_classes(tiny: Backbone) -> None:
    found = zero_shot_embeddings(tiny, WORDS)
    assert found.shape == (3, 16)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    turned = zero_shot_embeddings(tiny, WORDS[::-1])
    assert relative_error(turned.flip(0), found) < 1e-5


def test_zero_shot_is_the_untuned_prompt(builtin: Backbone) -> None:
    prompts = PromptLearner(builtin, WORDS, ctx_init="a photo of a")
    untuned = prompts.encode(prompts.initial(0)[None])[0]
    assert relative_error(zero_shot_embeddings(builtin, WORDS), untuned) < 1e-6


def test_runs_do_not_see_each_other(tiny: Backbone) -> None:
    prompts = PromptLearner(tiny, WORDS, ctx_init="random")
    context = torch.stack([prompts.initial(seed) for seed in range(3)])
    together = prompts.encode(context)
    for run in range(3):
        assert relative_error(together[run], prompts.encode(context[run : run + 1])[0]) < 1e-5


def test_context_and_class_words_are_tokenised_as_one_sentence(
    tiny: Backbone, tmp_path: Path
) -> None:
    # As SigLIP 2's vocabulary: a word inside a sentence has another token than at its start.
    pieces = ["<pad>", "<eos>", "<unk>", "a", "▁photo", "▁of", "▁a", "red", "▁red", "▁fox"]
    vocabulary = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=2))
    vocabulary.normalizer = normalizers.Replace(" ", "▁")
    vocabulary.save(str(tmp_path / "tokenizer.json"))
    settings = {"pad_token": "<pad>", "eos_token": "<eos>", "add_eos_token": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = HubTokenizer(tmp_path, clean="canonicalize")
    backbone = dataclasses.replace(tiny, tokenizer=tokenizer)

    ids = [*tokenizer.encode("a photo of a red fox."), *tokenizer.end]
    assert ids == [3, 4, 5, 6, 8, 9, 1]
    tower = tiny.text_tower
    expected = tower.encode(
        tower.embed(torch.tensor([tower.pad(ids)])), torch.tensor([len(ids) - 1])
    )
    found = zero_shot_embeddings(backbone, ["red fox"])
    assert relative_error(found, F.normalize(expected, dim=-1)) < 1e-5

    random = PromptLearner(backbone, ["red fox"], ctx_init="random", n_ctx=4)
    words = PromptLearner(backbone, ["red fox"])
    context = words.initial(0)[None]
    assert torch.equal(random.encode(context), words.encode(context))


def test_context_words_that_merge_with_the_class_words(tiny: Backbone) -> None:
    class Merging:
        start, end = tiny.tokenizer.start, tiny.tokenizer.end

        def encode(self, text: str) -> list[int]:
            return [len(text) + 1]

    with pytest.raises(ConfigError, match="tokenised differently before the class words 'cat'"):
        PromptLearner(dataclasses.replace(tiny, tokenizer=Merging()), WORDS)
