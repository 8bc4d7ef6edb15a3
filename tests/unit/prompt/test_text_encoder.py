"""The encoder that shares the prefix against the plain path and against open_clip itself."""

from __future__ import annotations

from functools import cache
from typing import Any

import open_clip
import pytest
import torch
from encoding import WORDS, contexts, plain, with_gradient
from open_clip.transformer import QuickGELU, TextTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from towers import (
    LetterTokenizer,
    backbone_of,
    open_clip_backbone,
    open_clip_model,
    relative_error,
    rescaled,
    tiny_backbone,
)

from dspt.backbones.base import Backbone
from dspt.backbones.text_tower import OpenClipTextTower, open_clip_text_tower
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings
from dspt.prompt.text_encoder import PlainEncoder, SharedPrefixEncoder, shares_prefix

CLIPS = ["ViT-B-32", "ViT-B-32-quickgelu", "ViT-L-14", "RN50", "MobileCLIP-B"]


@pytest.fixture
def backbone(request: pytest.FixtureRequest) -> Backbone:
    if request.param in ("builtin", "tiny"):
        found: Backbone = request.getfixturevalue(request.param)
        return found
    return open_clip_backbone(request.param)


@cache
def token_ids() -> Tensor:
    """By open_clip's own tokenizer."""
    found: Tensor = open_clip.get_tokenizer("ViT-B-32")([f"a photo of a {w}." for w in WORDS])
    return found


def test_the_words_have_from_1_to_20_tokens(builtin: Backbone) -> None:
    lengths = [len(builtin.tokenizer.encode(words)) for words in WORDS]
    assert lengths[0] == 1
    assert lengths[-1] == 20
    assert len(set(lengths)) == len(lengths)


@pytest.mark.parametrize(
    ("backbone", "n_ctx"),
    [
        *(("tiny", n_ctx) for n_ctx in (1, 16)),
        *((name, 4) for name in ("builtin", "ViT-B-32", "ViT-L-14", "RN50", "MobileCLIP-B")),
    ],
    indirect=["backbone"],
)
def test_a_shared_prefix_changes_neither_output_nor_gradient(
    backbone: Backbone, n_ctx: int
) -> None:
    prompts = PromptLearner(backbone, WORDS, n_ctx=n_ctx, ctx_init="random")
    assert isinstance(prompts._encoder, SharedPrefixEncoder)
    context = contexts(prompts, backbone, runs=2)
    ours, our_gradient = with_gradient(prompts.encode, context)
    theirs, their_gradient = with_gradient(lambda c: plain(backbone, WORDS, c), context)
    assert ours.shape == (2, len(WORDS), backbone.embed_dim)
    assert ours.dtype == torch.float32
    assert relative_error(ours, theirs) < 1e-5
    for run in range(2):  # each on its own: a large gradient must not hide a wrong small one
        assert relative_error(our_gradient[run], their_gradient[run]) < 1e-5
        assert our_gradient[run].abs().amax(-1).min() > 0


@pytest.mark.parametrize(
    ("backbone", "n_ctx"),
    [("tiny", 1), ("tiny", 16), ("builtin", 4), ("ViT-B-32", 4)],
    indirect=["backbone"],
)
def test_contexts_of_each_classs_own_change_neither_output_nor_gradient(
    backbone: Backbone, n_ctx: int
) -> None:
    prompts = PromptLearner(backbone, WORDS, n_ctx=n_ctx, ctx_init="random", class_specific=True)
    assert isinstance(prompts._encoder, SharedPrefixEncoder)
    context = contexts(prompts, backbone, runs=2)
    assert context.shape == (2, len(WORDS), n_ctx, backbone.text_tower.width)
    ours, our_gradient = with_gradient(prompts.encode, context)
    theirs, their_gradient = with_gradient(lambda c: plain(backbone, WORDS, c), context)
    assert relative_error(ours, theirs) < 1e-5
    assert relative_error(our_gradient, their_gradient) < 1e-5


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("class_specific", [False, True])
def test_real_words_give_what_the_library_gives(name: str, class_specific: bool) -> None:
    model, backbone = open_clip_model(name), open_clip_backbone(name)
    prompts = PromptLearner(backbone, WORDS, ctx_init="a photo of a", class_specific=class_specific)
    ids = token_ids()
    theirs = F.normalize(model.encode_text(ids), dim=-1)
    assert relative_error(prompts.encode(prompts.initial(0)[None])[0], theirs) < 1e-5
    if not class_specific:
        assert relative_error(zero_shot_embeddings(backbone, WORDS), theirs) < 1e-5


def test_real_words_on_the_builtin_give_what_the_library_gives(builtin: Backbone) -> None:
    tower = builtin.text_tower
    assert isinstance(tower, OpenClipTextTower)
    ids = token_ids()
    theirs = F.normalize(tower._text(ids), dim=-1)
    assert relative_error(zero_shot_embeddings(builtin, WORDS), theirs) < 1e-5


@pytest.mark.parametrize("class_specific", [False, True])
def test_gradients_by_finite_differences(class_specific: bool) -> None:
    backbone = tiny_backbone(width=8, heads=2, layers=2, output_dim=4, act_layer=QuickGELU)
    backbone.image_tower.double()
    tower = backbone.text_tower
    assert isinstance(tower, OpenClipTextTower)
    tower._text.double()
    prompts = PromptLearner(
        backbone, WORDS[:3], n_ctx=2, ctx_init="random", class_specific=class_specific
    )
    context = contexts(prompts, backbone, runs=2).double().requires_grad_()
    assert isinstance(prompts._encoder, SharedPrefixEncoder)
    assert torch.autograd.gradcheck(prompts._encoder.encode, context)


def test_encoding_before_tuning_does_not_spoil_it(tiny: Backbone) -> None:
    """What is made in inference mode could not be used in training."""
    prompts = PromptLearner(tiny, WORDS, n_ctx=4, ctx_init="random")
    context = contexts(prompts, tiny, runs=2)
    with torch.inference_mode():
        first = prompts.encode(context)
    ours, gradient = with_gradient(prompts.encode, context)
    assert torch.equal(first.clone(), ours)
    assert gradient.abs().min() > 0


def test_a_tower_with_an_unknown_block_takes_the_plain_path() -> None:
    backbone = tiny_backbone(act_layer=nn.ReLU)
    prompts = PromptLearner(backbone, WORDS, n_ctx=3, ctx_init="random")
    assert isinstance(prompts._encoder, PlainEncoder)
    context = contexts(prompts, backbone, runs=2)
    assert relative_error(prompts.encode(context), plain(backbone, WORDS, context)) < 1e-5


@pytest.mark.parametrize("class_specific", [False, True])
def test_a_tower_without_a_causal_mask_takes_the_plain_path(class_specific: bool) -> None:
    model = open_clip_model("ViT-B-16-SigLIP")
    tower = open_clip_text_tower(model, pad_id=1)
    assert not shares_prefix(tower)
    backbone = backbone_of(tower, tower.width, tokenizer=LetterTokenizer())
    words = ["dog", "steam locomotive in the rain"]
    prompts = PromptLearner(
        backbone, words, n_ctx=4, ctx_init="random", class_specific=class_specific
    )
    assert isinstance(prompts._encoder, PlainEncoder)
    context = contexts(prompts, backbone, runs=2)
    ours, our_gradient = with_gradient(prompts.encode, context)
    theirs, their_gradient = with_gradient(lambda c: plain(backbone, words, c), context)
    assert relative_error(ours, theirs) < 1e-5
    assert relative_error(our_gradient, their_gradient) < 1e-5


def test_a_tower_without_a_causal_mask_gives_what_the_library_gives() -> None:
    model = open_clip_model("ViT-B-16-SigLIP")
    tower = open_clip_text_tower(model, pad_id=1)
    tokenizer = LetterTokenizer()
    backbone = backbone_of(tower, tower.width, tokenizer=tokenizer)
    words = ["dog", "fire truck"]
    prompts = PromptLearner(backbone, words, ctx_init="this is")
    ids = [tower.pad([*tokenizer.encode(f"this is {text}."), 1]) for text in words]
    theirs = F.normalize(model.encode_text(torch.tensor(ids)), dim=-1)
    assert relative_error(prompts.encode(prompts.initial(0)[None])[0], theirs) < 1e-5


@pytest.mark.parametrize(
    "text",
    [
        {"layers": 1},
        {"ls_init_value": 0.3},
        {"act_layer": QuickGELU},
        {"layers": 1, "ls_init_value": 0.3, "act_layer": QuickGELU},
        {"heads": 1},
        {"proj_bias": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("class_specific", [False, True])
def test_other_settings_of_the_blocks(text: dict[str, Any], class_specific: bool) -> None:
    backbone = tiny_backbone(**text)
    prompts = PromptLearner(
        backbone, WORDS, n_ctx=3, ctx_init="random", class_specific=class_specific
    )
    assert isinstance(prompts._encoder, SharedPrefixEncoder)
    context = contexts(prompts, backbone, runs=2)
    ours, our_gradient = with_gradient(prompts.encode, context)
    theirs, their_gradient = with_gradient(lambda c: plain(backbone, WORDS, c), context)
    assert relative_error(ours, theirs) < 1e-5
    assert relative_error(our_gradient, their_gradient) < 1e-5


@pytest.mark.parametrize(
    "text", [{"pool_type": "last"}, {"pool_type": "first"}, {"no_causal_mask": True}], ids=str
)
def test_towers_that_cannot_share(text: dict[str, Any]) -> None:
    tower = TextTransformer(
        context_length=9, vocab_size=50, width=32, heads=2, layers=1, output_dim=8, **text
    )
    assert not shares_prefix(open_clip_text_tower(tower))


def test_a_prompt_that_fills_the_window_to_the_last_place(tiny: Backbone) -> None:
    # 77 places: start, 4 of context, 70 words, the full stop, end
    words = ["dog", " ".join(["cat"] * 70)]
    prompts = PromptLearner(tiny, words, ctx_init="a photo of a")
    context = contexts(prompts, tiny, runs=1)
    assert relative_error(prompts.encode(context), plain(tiny, words, context)) < 1e-5


def test_a_class_is_encoded_the_same_whatever_its_neighbours(builtin: Backbone) -> None:
    together = zero_shot_embeddings(builtin, WORDS)
    for c, words in enumerate(WORDS):
        alone = zero_shot_embeddings(builtin, [words])
        assert relative_error(alone[0], together[c]) < 1e-5


def test_bfloat16_comes_close(builtin: Backbone) -> None:
    prompts = PromptLearner(builtin, WORDS, n_ctx=4, ctx_init="random")
    context = contexts(prompts, builtin, runs=2)

    def in_bfloat16(context: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return prompts.encode(context)

    ours, our_gradient = with_gradient(in_bfloat16, context)
    theirs, their_gradient = with_gradient(prompts.encode, context)
    assert ours.dtype == torch.float32
    assert relative_error(ours, theirs) < 0.03
    assert relative_error(our_gradient, their_gradient) < 0.1


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_the_size_of_the_residual_stream_does_not_matter(builtin: Backbone, factor: float) -> None:
    other = rescaled(builtin, factor)
    assert other.text_tower.embedding_std == pytest.approx(
        factor * builtin.text_tower.embedding_std
    )
    ours, theirs = (zero_shot_embeddings(b, WORDS) for b in (other, builtin))
    assert relative_error(ours, theirs) < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same() -> None:
    model = open_clip_model("ViT-B-32")
    here = open_clip_backbone("ViT-B-32")
    expected = zero_shot_embeddings(here, WORDS)
    try:
        model.cuda()
        there = open_clip_backbone("ViT-B-32")
        there.image_tower.cuda()
        found = zero_shot_embeddings(there, WORDS)
        assert found.device.type == "cuda"
        assert relative_error(found.cpu(), expected) < 1e-4
    finally:
        model.cpu()
