"""A tuned classifier at work."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from models import CLASSES, WORDS, blend, model_for, tuned_model, write
from PIL import Image
from torch import Tensor, nn
from towers import relative_error, tiny_backbone

from dspt.backbones.base import Backbone
from dspt.classifier.linear import LinearClassifier
from dspt.config import TuneConfig
from dspt.errors import ArtifactError, BackboneMismatch
from dspt.model.artifact import TunedModel, load_model, save_model
from dspt.model.predict import ImageClassifier, linear_classifier
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings


def photos(count: int, size: int = 20) -> list[Image.Image]:
    pixels = np.random.default_rng(1).integers(0, 256, (count, size, size + 9, 3), dtype=np.uint8)
    return [Image.fromarray(array) for array in pixels]


def embedded(model: TunedModel, backbone: Backbone) -> Tensor:
    """The class embeddings that a tuned prompt is served with."""
    return linear_classifier(model, backbone).matrix / backbone.logit_scale


def test_classes_are_embedded_with_the_tuned_context(tiny: Backbone) -> None:
    model = model_for(tiny)
    linear = ImageClassifier(model, tiny).linear
    assert torch.equal(linear.bias, torch.zeros(10))
    matrix = linear.matrix / 30.0
    expected = PromptLearner(tiny, WORDS, n_ctx=4, ctx_init="random").encode(model.context[None])[0]
    assert relative_error(matrix, expected) < 1e-6
    assert relative_error(matrix, zero_shot_embeddings(tiny, WORDS)) > 0.01
    torch.testing.assert_close(matrix.norm(dim=1), torch.ones(10))


def test_zero_shot_is_served_where_it_is_better(tiny: Backbone) -> None:
    model = model_for(tiny, served="zero_shot")
    expected = LinearClassifier.from_text(zero_shot_embeddings(tiny, WORDS), 30.0)
    for served in (model, dataclasses.replace(model, blend=blend(16))):
        found = ImageClassifier(served, tiny).linear
        assert torch.equal(found.matrix, expected.matrix)
        assert torch.equal(found.bias, expected.bias)


def test_class_embeddings_are_served_at_their_temperature(tiny: Backbone) -> None:
    temperatures = {"tuned": 2.0, "zero_shot": 0.5}
    for served in ("tuned", "zero_shot"):
        plain = linear_classifier(model_for(tiny, served=served), tiny)
        found = linear_classifier(model_for(tiny, served=served, temperatures=temperatures), tiny)
        torch.testing.assert_close(found.matrix * temperatures[served], plain.matrix)


def test_a_blend_is_served_as_it_is(tiny: Backbone) -> None:
    linear = blend(16)
    model = model_for(tiny, temperatures={"tuned": 2.0})
    classifier = ImageClassifier(dataclasses.replace(model, blend=linear), tiny)
    assert torch.equal(classifier.linear.matrix, linear.matrix)
    assert torch.equal(classifier.linear.bias, linear.bias)
    features = tiny.encode_image(torch.rand(5, 3, 4, 4))
    expected = (features @ linear.matrix.T + linear.bias).softmax(1)
    torch.testing.assert_close(classifier.scores(features), expected)
    assert relative_error(expected, ImageClassifier(model_for(tiny), tiny).scores(features)) > 0.1


def test_a_matrix_of_embeddings_is_served_where_the_tower_has_penultimate_features(
    tiny: Backbone,
) -> None:
    """As an artefact from before them. Zero-shot, the prompt and its answers stay the same too."""
    tower = nn.Sequential(nn.Flatten(), nn.Linear(48, 24)).requires_grad_(False)
    wide = dataclasses.replace(tiny, image_tower=tower, penultimate_dim=8)
    narrow = dataclasses.replace(tiny, image_tower=_FirstColumns(tower, 16))
    models = [
        model_for(tiny, served="zero_shot"),
        model_for(tiny),
        dataclasses.replace(model_for(tiny), blend=blend(16)),
    ]
    for model in models:
        found, expected = (ImageClassifier(model, each) for each in (wide, narrow))
        assert found.predict(photos(3), 10) == expected.predict(photos(3), 10)
    linear = blend(24)
    classifier = ImageClassifier(dataclasses.replace(model_for(tiny), blend=linear), wide)
    features = wide.encode_image(torch.rand(5, 3, 4, 4))
    expected = (features @ linear.matrix.T + linear.bias).softmax(1)
    torch.testing.assert_close(classifier.scores(features), expected)


class _FirstColumns(nn.Module):
    def __init__(self, tower: nn.Module, columns: int) -> None:
        super().__init__()
        self.tower, self.columns = tower, columns

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.tower(pixels)[:, : self.columns]
        return features


@pytest.mark.parametrize("dim", [15, 17, 32, 0])
def test_a_blend_of_another_width_is_refused(tiny: Backbone, dim: int) -> None:
    model = dataclasses.replace(model_for(tiny), blend=blend(dim))
    with pytest.raises(ArtifactError, match=rf"matrix has width {dim}, but .* have width 16"):
        ImageClassifier(model, tiny)


def test_class_specific_contexts(tiny: Backbone) -> None:
    config = TuneConfig(n_ctx=2, ctx_init="random", class_specific_context=True)
    model = model_for(tiny, config=config)
    context = torch.randn(10, 2, 32, generator=torch.Generator().manual_seed(1)) * 0.02
    model = dataclasses.replace(model, context=context)
    found = embedded(model, tiny)
    for c in (0, 7):
        alone = PromptLearner(tiny, [WORDS[c]], n_ctx=2, ctx_init="random").encode(context[c][None])
        assert relative_error(found[c], alone[0, 0]) < 1e-5


def test_scores_are_the_softmax_of_scaled_cosines(tiny: Backbone) -> None:
    classifier = ImageClassifier(model_for(tiny), tiny)
    features = tiny.encode_image(torch.rand(5, 3, 4, 4))
    scores = classifier.scores(features)
    expected = (features @ classifier.linear.matrix.T).softmax(1)
    torch.testing.assert_close(scores, expected)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.sum(1), torch.ones(5))
    half = classifier.scores(features.half())  # a store may keep them so
    assert half.dtype == torch.float32
    assert relative_error(half, expected) < 0.01


@pytest.mark.parametrize("top_k", [1, 3, 10])
def test_the_best_come_first(tiny: Backbone, top_k: int) -> None:
    classifier = ImageClassifier(model_for(tiny), tiny)
    images = photos(4)
    found = classifier.predict(images, top_k)
    pixels = torch.stack([tiny.preprocess(image) for image in images])
    scores = classifier.scores(tiny.encode_image(pixels))
    assert len(found) == 4
    for of_image, row in zip(found, scores, strict=True):
        assert len(of_image) == top_k
        expected = sorted(zip(CLASSES, row.tolist(), strict=True), key=lambda pair: -pair[1])
        assert [label for label, _ in of_image] == [label for label, _ in expected[:top_k]]
        assert [p for _, p in of_image] == pytest.approx([p for _, p in expected[:top_k]])


def test_more_than_all_classes_are_all_classes(tiny: Backbone) -> None:
    [found] = ImageClassifier(model_for(tiny), tiny).predict(photos(1), 50)
    assert sorted(label for label, _ in found) == sorted(CLASSES)
    assert sum(score for _, score in found) == pytest.approx(1)


def test_no_images_give_no_predictions(tiny: Backbone) -> None:
    assert ImageClassifier(model_for(tiny), tiny).predict([]) == []


def test_an_image_is_judged_alike_alone_and_in_a_batch(builtin: Backbone) -> None:
    classifier = ImageClassifier(model_for(builtin), builtin)
    images = photos(3, size=64)
    together = classifier.predict(images, 10)
    for image, expected in zip(images, together, strict=True):
        assert dict(classifier.predict([image], 10)[0]) == pytest.approx(dict(expected), abs=1e-5)


@pytest.mark.parametrize("blended", [False, True])
def test_a_saved_model_predicts_the_same(tiny: Backbone, tmp_path: Path, blended: bool) -> None:
    model = dataclasses.replace(model_for(tiny), blend=blend(16) if blended else None)
    save_model(model, tmp_path / "model.safetensors")
    back = load_model(tmp_path / "model.safetensors")
    assert ImageClassifier(back, tiny).predict(photos(2)) == ImageClassifier(model, tiny).predict(
        photos(2)
    )


def test_a_file_of_the_first_format_predicts_as_its_prompt_does(
    tiny: Backbone, tmp_path: Path
) -> None:
    """It has no blend, and its settings do not say which classifier was asked for."""
    model = model_for(tiny)
    manifest = json.loads(model.manifest.model_dump_json()) | {"format": "dspt.classifier/1"}
    del manifest["config"]["classifier"]
    path = tmp_path / "model.safetensors"
    write(path, {"context": model.context}, manifest)
    features = tiny.encode_image(torch.rand(5, 3, 4, 4))
    classes = PromptLearner(tiny, WORDS, n_ctx=4, ctx_init="random").encode(model.context[None])[0]
    found = ImageClassifier(load_model(path), tiny).scores(features)
    torch.testing.assert_close(found, (30.0 * features @ classes.T).softmax(1))


def test_the_context_of_real_words_is_the_zero_shot_classifier(builtin: Backbone) -> None:
    model = model_for(builtin)
    context = PromptLearner(builtin, WORDS, ctx_init="a photo of a").initial(0)
    found = embedded(dataclasses.replace(model, context=context), builtin)
    assert relative_error(found, zero_shot_embeddings(builtin, WORDS)) < 1e-6


def test_other_weights_are_refused(tiny: Backbone) -> None:
    with pytest.raises(BackboneMismatch) as caught:
        ImageClassifier(model_for(tiny, backbone_digest="12" * 32), tiny)
    assert caught.value.code == "backbone_mismatch"
    for part in ("121212121212", "abababababab", "toy", "builtin"):
        assert part in caught.value.message


def test_other_weights_are_refused_for_zero_shot_as_well(tiny: Backbone) -> None:
    with pytest.raises(BackboneMismatch):
        ImageClassifier(model_for(tiny, served="zero_shot", backbone_digest="12" * 32), tiny)


def test_a_context_of_another_width_is_refused(tiny: Backbone) -> None:
    with pytest.raises(ArtifactError, match=r"width 512.*toy has width 32"):
        ImageClassifier(tuned_model(backbone_digest=tiny.digest), tiny)


def test_two_models_share_a_backbone(tiny: Backbone) -> None:
    one = ImageClassifier(model_for(tiny), tiny)
    before = one.linear.matrix.clone()
    ImageClassifier(model_for(tiny, class_words=WORDS[::-1]), tiny)
    assert torch.equal(one.linear.matrix, before)


def test_another_tower_of_the_same_width_would_fit_and_be_wrong() -> None:
    """Nothing but the digest tells them apart."""
    one, other = tiny_backbone(), tiny_backbone(layers=1)
    model = model_for(one)
    assert relative_error(embedded(model, other), embedded(model, one)) > 0.05
