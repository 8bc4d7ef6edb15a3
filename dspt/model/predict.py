"""Predict with a tuned classifier: one matrix on top of the shared image tower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from dspt.backbones import load_backbone
from dspt.backbones.base import Backbone
from dspt.classifier.linear import LinearClassifier
from dspt.errors import ArtifactError, BackboneMismatch
from dspt.kit.device import resolve_device
from dspt.model.artifact import TunedModel, load_model
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings


class FeatureClassifier:
    """The classifier weights of `model` for `backbone`; the only per-model state.

    Raises BackboneMismatch if it was tuned on other weights, ArtifactError if the widths differ.
    """

    def __init__(self, model: TunedModel, backbone: Backbone) -> None:
        manifest = model.manifest
        if manifest.backbone_digest != backbone.digest:
            raise BackboneMismatch(
                f"tuned on {manifest.config.backbone} with weights "
                f"{manifest.backbone_digest[:12]}, but {backbone.name} has "
                f"{backbone.digest[:12]}; load the backbone it was tuned on"
            )
        if model.context.shape[-1] != backbone.text_tower.width:
            raise ArtifactError(
                f"context vectors have width {model.context.shape[-1]}, but the text tower of "
                f"{backbone.name} has width {backbone.text_tower.width}"
            )
        self.classes = tuple(manifest.classes)
        self.linear = linear_classifier(model, backbone)

    def scores(self, features: Tensor) -> Tensor:
        """Return class probabilities of image features. (N, F) -> (N, C), float32."""
        return self.linear.probabilities(features.float())

    def top(self, features: Tensor, top_k: int = 5) -> list[list[tuple[str, float]]]:
        """Return the `top_k` most probable (class, probability) per image; features: (N, F)."""
        best = self.scores(features).topk(min(top_k, len(self.classes)), dim=-1)
        return [
            [(self.classes[i], score) for i, score in zip(indices, scores, strict=True)]
            for indices, scores in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]


class ImageClassifier(FeatureClassifier):
    """Classifies images with `model` on `backbone`. Raises the errors of FeatureClassifier."""

    def __init__(self, model: TunedModel, backbone: Backbone) -> None:
        super().__init__(model, backbone)
        self._backbone = backbone

    @classmethod
    def load(
        cls, path: Path | str, *, device: str = "auto", backbone: Backbone | None = None
    ) -> Self:
        """Read an artefact and load its backbone, or use the one given.

        Raises ArtifactError, BackboneError, or BackboneMismatch.
        """
        model = load_model(Path(path))
        name = model.manifest.config.backbone
        return cls(model, backbone or load_backbone(name, device=resolve_device(device)))

    def __repr__(self) -> str:
        return f"<ImageClassifier: {len(self.classes)} classes on {self._backbone.name}>"

    def predict(
        self, images: Sequence[Image.Image], top_k: int = 5
    ) -> list[list[tuple[str, float]]]:
        """Return the `top_k` most probable (class, probability) per RGB image, best first."""
        return self.predict_crops([self.crop(image) for image in images], top_k)

    @property
    def read_side(self) -> int:
        """Pixels that the shorter side of a photo needs: `decode_image(data, side=...)`."""
        return self._backbone.read_side

    def crop(self, image: Image.Image) -> Tensor:
        """Resize and crop an RGB image: -> (H, W, 3) uint8. Thread-safe."""
        return self._backbone.preprocess.crop(image)

    def predict_crops(
        self, crops: Sequence[Tensor], top_k: int = 5
    ) -> list[list[tuple[str, float]]]:
        """Do what `predict` does, for images from `crop`."""
        if not crops:
            return []
        return self.top(self._backbone.encode_crops(torch.stack(list(crops))), top_k)


def linear_classifier(model: TunedModel, backbone: Backbone) -> LinearClassifier:
    """Return the served classifier of `model`: its ensemble, its tuned prompt, or zero-shot.

    Raises ArtifactError if the width of the ensemble differs from that of the backbone.
    """
    manifest, config = model.manifest, model.manifest.config
    scale = backbone.logit_scale / manifest.temperatures.get(manifest.served, 1.0)
    if manifest.served == "zero_shot":
        classes = zero_shot_embeddings(backbone, manifest.class_words)
        return LinearClassifier.from_text(classes, scale)
    if model.blend is not None:
        width = model.blend.matrix.shape[1]
        # A matrix of width D is one of class means of embeddings, as all once were.
        widths = sorted({backbone.embed_dim, backbone.feature_dim})
        if width not in widths:
            raise ArtifactError(
                f"the matrix has width {width}, but features of {backbone.name} have width "
                f"{' or '.join(map(str, widths))}"
            )
        return LinearClassifier(
            model.blend.matrix.to(backbone.device), model.blend.bias.to(backbone.device)
        )
    prompts = PromptLearner.of_config(backbone, manifest.class_words, config)
    with torch.inference_mode():
        classes = prompts.encode(model.context[None].to(prompts.device))[0]
    return LinearClassifier.from_text(classes, scale)
