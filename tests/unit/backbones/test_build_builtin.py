"""The parts of `python -m scripts.build_builtin` that need no teacher."""

from __future__ import annotations

import copy
from functools import cache
from itertools import islice

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import TextTransformer
from torch import Tensor
from torch.nn import functional as F

from dspt.backbones.builtin.model import text_tower
from dspt.backbones.text_tower import OpenClipTextTower
from scripts.build_builtin import words
from scripts.build_builtin.batches import Batch, Batches, frame
from scripts.build_builtin.corpus import Corpus, build_corpus
from scripts.build_builtin.distil import distil, recall
from scripts.build_builtin.image_head import Targets
from scripts.build_builtin.student import END, START, at_clip_scale, new_student


class Cached(SimpleTokenizer):
    """Encodes each text once."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = cache(super().encode)


TOKENIZER = Cached()


@cache
def corpus() -> Corpus:
    return build_corpus(TOKENIZER, {"dog", "cat", "red", "house", "the"}, seed=3, fraction=0.02)


def unit(count: int, seed: int) -> Tensor:
    values = torch.randn(count, 512, generator=torch.Generator().manual_seed(seed))
    return F.normalize(values, dim=1)


def batches(seed: int = 1) -> Batches:
    general, names = corpus().general, corpus().names
    return Batches(
        corpus(), unit(len(general.phrase), 1), unit(len(names.phrase), 2), TOKENIZER, seed
    )


@cache
def student() -> TextTransformer:
    """An untrained student; copy it to train it."""
    return new_student(unit(49_408, 7), torch.Generator().manual_seed(0)).eval()


def same(one: Batch, other: Batch) -> bool:
    tensors = torch.equal(one.ids, other.ids) and torch.equal(one.targets, other.targets)
    return tensors and one.vectors == other.vectors


def test_words_are_those_of_the_packages() -> None:
    classes = words.imagenet_1k()
    assert len(classes) == 1000
    assert classes[0] == ["tench", "Tinca tinca"]
    concepts = words.imagenet_22k()
    assert len(concepts) == 21_841
    assert concepts[0][0] == ["organism", "being"]
    assert concepts[0][1].startswith("a living thing")
    strings = words.token_strings(TOKENIZER)
    assert len(strings) == 49_408
    assert strings[TOKENIZER.encode("dog")[0]] == "dog"
    assert all(strings)
    assert all(t.count("{}") == 1 for t in words.templates())


def test_corpus_is_the_same_for_a_seed() -> None:
    again = build_corpus(TOKENIZER, {"dog", "cat", "red", "house", "the"}, seed=3, fraction=0.02)
    assert again.general.texts() == corpus().general.texts()
    assert again.held_out.texts() == corpus().held_out.texts()
    other = build_corpus(TOKENIZER, {"dog", "cat", "red", "house", "the"}, seed=4, fraction=0.02)
    assert other.general.texts() != corpus().general.texts()


def test_held_out_words_are_in_no_other_part() -> None:
    held = {p.lower() for p in corpus().held_out.phrases}
    seen = {p.lower() for part in (corpus().general, corpus().names) for p in part.phrases}
    assert len(held) > 3
    assert not held & seen


def test_batches_are_the_same_for_a_seed_and_well_formed() -> None:
    kinds = set()
    for batch, again in zip(islice(batches(), 16), islice(batches(), 16), strict=True):
        assert same(batch, again)
        rows = torch.arange(len(batch.ids))
        assert (batch.ids[:, 0] == START).all()
        assert (batch.ids[rows, batch.end] == END).all()
        assert ((batch.ids == END).sum(1) == 1).all()
        assert batch.ids.shape[1] <= 77
        assert batch.targets.shape == (len(batch.ids), 512)
        kinds.add(batch.vectors is None)
    assert kinds == {True, False}
    assert not all(
        same(a, b) for a, b in zip(islice(batches(1), 3), islice(batches(2), 3), strict=True)
    )


def test_targets_follow_their_formula() -> None:
    generator = torch.Generator().manual_seed(5)
    mean, classes = torch.randn(384, generator=generator), torch.randn(7, 384, generator=generator)
    directions = torch.randn(7, 128, generator=generator)
    e = torch.randn(5, 384, generator=generator)
    found = Targets(mean, classes, directions)(e).double().numpy()
    x = (e - mean).double().numpy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    c = classes.double().numpy()
    c = c / np.linalg.norm(c, axis=1, keepdims=True)
    p = np.exp(x @ c.T / 0.06)
    v = p / p.sum(1, keepdims=True) @ directions.double().numpy()
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    np.testing.assert_allclose(found, np.hstack([x, v]) / np.sqrt(2), atol=1e-5)


def test_clips_scale_is_the_same_function() -> None:
    rescaled = text_tower().eval()
    state = at_clip_scale(student().state_dict())
    assert {v.dtype for v in state.values()} == {torch.float16}
    rescaled.load_state_dict(state)
    assert float(state["token_embedding.weight"].float().std()) == pytest.approx(0.015, rel=1e-3)
    ids, end = frame([TOKENIZER.encode(t) for t in ("a photo of a dog", "an old red house")])
    before, after = (OpenClipTextTower(t, pad_id=0) for t in (student(), rescaled))
    with torch.no_grad():
        similar = F.cosine_similarity(
            before.encode(before.embed(ids), end), after.encode(after.embed(ids), end)
        )
    assert float(similar.min()) > 0.999


def test_distilling_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.build_builtin.batches.BATCH", 24)
    torch.manual_seed(0)
    trained = copy.deepcopy(student())
    part = corpus().names
    prompts = [TOKENIZER.encode(text) for text in part.texts()[:64]]
    target = unit(len(part.phrase), 2)[:64]
    before, _ = recall(trained, prompts, target)
    lines: list[str] = []
    distil(trained, batches(), 8, "cpu", torch.Generator().manual_seed(0), lines.append)
    after, _ = recall(trained, prompts, target)
    assert after > before
    assert "step 8/8" in lines[-1]
