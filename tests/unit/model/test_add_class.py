"""Classes that are added to a tuned model by their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from models import CLASSES, WORDS, model_for
from torch import Tensor

from dspt.backbones.base import Backbone
from dspt.classifier.linear import LinearClassifier
from dspt.config import TuneConfig
from dspt.errors import (
    ArtifactError,
    BackboneMismatch,
    ConfigError,
    DatasetError,
    DsptError,
    PromptTooLong,
)
from dspt.model.add_class import BIAS, _closeness, add_classes
from dspt.model.artifact import TunedModel, load_model, save_model
from dspt.model.predict import FeatureClassifier, linear_classifier
from dspt.prompt.learner import zero_shot_embeddings

WEIGHTS = {"zero_shot": 0.5, "prompt": 0.25, "class_means": 3.0}
METRICS = {"tuned": {"accuracy": 0.75}, "blend": WEIGHTS}
FLOAT16 = {"rtol": 2**-11, "atol": 1e-5}
"""Of a row that is rounded to float16."""


def texts(model: TunedModel, backbone: Backbone) -> Tensor:
    """What the names are worth in a blend of WEIGHTS: (C, D)."""
    prompt = linear_classifier(dataclasses.replace(model, blend=None), backbone).matrix
    zero_shot = zero_shot_embeddings(backbone, model.manifest.class_words)
    return 0.5 * backbone.logit_scale * zero_shot + 0.25 * prompt


def blended(backbone: Backbone, means: Tensor | None = None, **changes: Any) -> TunedModel:
    """A model whose blend has these class means (C, D), or some."""
    model = model_for(backbone, **({"metrics": METRICS} | changes))
    generator = torch.Generator().manual_seed(6)
    classes = len(model.manifest.classes)
    if means is None:
        means = torch.randn(classes, backbone.embed_dim, generator=generator)
    blend = LinearClassifier(
        texts(model, backbone) + means, torch.randn(classes, generator=generator)
    )
    return dataclasses.replace(model, blend=blend)


def blend_of(model: TunedModel) -> LinearClassifier:
    assert model.blend is not None
    return model.blend


def test_the_old_classes_keep_their_rows(tiny: Backbone) -> None:
    model = blended(tiny)
    found = add_classes(model, {"Polar_Bear": None, "0017": "coffee mug"}, tiny)
    assert found.manifest.classes == [*CLASSES, "Polar_Bear", "0017"]
    assert found.manifest.class_words == [*WORDS, "Polar Bear", "coffee mug"]
    assert torch.equal(blend_of(found).matrix[:10], blend_of(model).matrix)
    assert torch.equal(blend_of(found).bias[:10], blend_of(model).bias)
    assert torch.equal(found.context, model.context)
    assert model.manifest.classes == CLASSES


def test_penultimate_features_have_no_text(tiny: Backbone) -> None:
    """Their columns of a new class come from the tuned classes alone, as its means do."""
    narrow = blended(tiny)
    further = torch.randn(10, 8, generator=torch.Generator().manual_seed(7))
    matrix = torch.cat([blend_of(narrow).matrix, further], dim=1)
    model = dataclasses.replace(narrow, blend=LinearClassifier(matrix, blend_of(narrow).bias))
    wide = dataclasses.replace(tiny, penultimate_dim=8)
    found = blend_of(add_classes(model, {"whale": None}, wide)).matrix
    assert torch.equal(found[:10], matrix)
    expected = blend_of(add_classes(narrow, {"whale": None}, tiny)).matrix
    torch.testing.assert_close(found[:, :16], expected)
    zero_shot = zero_shot_embeddings(tiny, [*WORDS, "whale"])
    expected = _closeness(zero_shot[:10], zero_shot[10:])[0] @ further
    torch.testing.assert_close(found[10, 16:], expected, **FLOAT16)


def test_a_new_class_has_its_texts_and_a_bias_where_there_are_no_means(tiny: Backbone) -> None:
    model = blended(tiny, torch.zeros(10, 16))
    model = dataclasses.replace(
        model, blend=LinearClassifier(blend_of(model).matrix, torch.zeros(10))
    )
    found = add_classes(model, {"whale": None}, tiny)
    torch.testing.assert_close(blend_of(found).matrix[-1], texts(found, tiny)[-1], **FLOAT16)
    assert float(blend_of(found).bias[-1]) == pytest.approx(BIAS * WEIGHTS["class_means"])


def test_a_new_class_takes_after_the_classes_with_names_like_its_own(builtin: Backbone) -> None:
    words = ["house cat", "lorry", "violin", "banana"]
    means = torch.zeros(4, builtin.embed_dim)
    means[:, :4] = torch.eye(4)  # each class has a dimension of its own
    model = blended(builtin, means, classes=words, class_words=words)
    found = add_classes(model, {"kitten": None, "pickup truck": None, "cello": None}, builtin)
    taken = (blend_of(found).matrix - texts(found, builtin))[4:, :4]
    assert taken.argmax(1).tolist() == [0, 1, 2]
    torch.testing.assert_close(taken.sum(1), torch.zeros(3), atol=1e-2, rtol=0)


def test_one_after_the_other_is_as_all_at_once(tiny: Backbone) -> None:
    model = blended(tiny)
    first = add_classes(model, {"whale": None}, tiny)
    both = add_classes(first, {"owl": "barn owl"}, tiny)
    at_once = add_classes(model, {"whale": None, "owl": "barn owl"}, tiny)
    torch.testing.assert_close(blend_of(both).matrix, blend_of(at_once).matrix)
    torch.testing.assert_close(blend_of(both).bias, blend_of(at_once).bias)
    assert both.manifest == at_once.manifest


def test_nothing_measured_is_claimed_for_the_new_list(tiny: Backbone, tmp_path: Path) -> None:
    found = add_classes(blended(tiny), {"whale": None}, tiny)
    found = add_classes(found, {"owl": None}, tiny)
    manifest = found.manifest
    assert manifest.metrics == {
        "added_classes": ["whale", "owl"],
        "before": METRICS,
        "blend": WEIGHTS,
    }
    assert manifest.why == (
        "Tuned: it does better. Added by name later, without photos, so not measured: whale, owl."
    )
    save_model(found, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.manifest == manifest
    assert torch.equal(blend_of(again).matrix, blend_of(found).matrix)


def test_a_prompt_needs_the_name_alone(tiny: Backbone) -> None:
    model = model_for(tiny)
    found = add_classes(model, {"whale": None}, tiny)
    assert found.blend is None
    matrix = FeatureClassifier(found, tiny).linear.matrix
    torch.testing.assert_close(matrix[:10], FeatureClassifier(model, tiny).linear.matrix)
    assert len(matrix) == 11


def test_where_zero_shot_is_served_the_new_class_has_zero_shot(tiny: Backbone) -> None:
    found = add_classes(blended(tiny, served="zero_shot", metrics={}), {"whale": None}, tiny)
    expected = 30.0 * zero_shot_embeddings(tiny, [*WORDS, "whale"])
    torch.testing.assert_close(FeatureClassifier(found, tiny).linear.matrix, expected)


@pytest.mark.parametrize(
    ("new", "code", "told"),
    [
        ({}, "no_classes", "at least one"),
        ({"CLASS_1": "whale"}, "class_exists", "'class 1'"),
        ({"hound": "Dog"}, "same_class_words", "'class 1' and 'hound'"),
        ({"whale": "orca", "seal": "ORCA"}, "same_class_words", "'whale' and 'seal'"),
        ({"whale": None, " whale": None}, "same_class_words", "must be distinct"),
        ({"wha\u200ble": None}, "invalid_class", "invisible characters"),
        ({"whale": "wha\nle"}, "invalid_class_words", "control characters"),
        ({"whale": ""}, "invalid_class_words", "are empty"),
        ({" ": None}, "invalid_class_words", "are empty"),
        ({"0017": None}, "numeric_class", "red fox"),
        ({"whale": "w" * 201}, "invalid_class_words", "longer than 200"),
    ],
)
def test_names_that_will_not_do(
    tiny: Backbone, new: Mapping[str, str | None], code: str, told: str
) -> None:
    with pytest.raises(DatasetError) as refused:
        add_classes(blended(tiny), new, tiny)
    assert (refused.value.code, told in refused.value.message) == (code, True)


@pytest.mark.parametrize("served", ["tuned", "zero_shot"])
def test_words_that_do_not_fit_the_context_window(tiny: Backbone, served: str) -> None:
    for model in (blended(tiny, served=served), model_for(tiny, served=served)):
        with pytest.raises(PromptTooLong, match="'a, a"):
            add_classes(model, {"whale": ", ".join("a" * 60)}, tiny)


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"blend": None},
        {"blend": {"zero_shot": 0.1, "prompt": 0.2}},
        {"blend": WEIGHTS | {"prompt": -1.0}},
        {"blend": WEIGHTS | {"class_means": "3"}},
    ],
)
def test_a_blend_that_does_not_tell_its_weights(tiny: Backbone, metrics: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match=r"weights of its ensemble .* tune the model again"):
        add_classes(blended(tiny, metrics=metrics), {"whale": None}, tiny)


@pytest.mark.parametrize("told", [["whale"], ["class 9"] * 3, "class 9", CLASSES, 7])
def test_a_false_list_of_added_classes_changes_nothing(tiny: Backbone, told: object) -> None:
    honest = add_classes(blended(tiny), {"whale": None}, tiny)
    liar = blended(tiny, metrics=METRICS | {"added_classes": told})
    found = add_classes(liar, {"whale": None}, tiny)
    assert torch.equal(blend_of(found).matrix, blend_of(honest).matrix)


def test_what_a_name_cannot_be_added_to(tiny: Backbone) -> None:
    config = TuneConfig(n_ctx=2, ctx_init="random", class_specific_context=True)
    context = torch.zeros(10, 2, 32)
    specific = dataclasses.replace(model_for(tiny, config=config), context=context)
    elsewhere = blended(tiny, backbone_digest="00" * 32)
    cases: list[tuple[TunedModel, type[DsptError], str]] = [
        (specific, ConfigError, "separate context for each class"),
        (elsewhere, BackboneMismatch, "load the backbone it was tuned on"),
    ]
    for model, error, told in cases:
        with pytest.raises(error, match=told):
            add_classes(model, {"whale": None}, tiny)
