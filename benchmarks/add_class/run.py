"""Holds out a class, adds it to the tuned model by its name, and measures on clean test images."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from collections.abc import Sequence
from itertools import count
from statistics import harmonic_mean
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from benchmarks.skeleton.program import Document
from benchmarks.skeleton.sweep import OnProgress, plant, sweep
from dspt.backbones.base import Backbone
from dspt.classifier.linear import LinearClassifier
from dspt.config import TuneConfig
from dspt.data import Dataset
from dspt.features.encode import encode_images
from dspt.features.store import FeatureStore
from dspt.model.add_class import add_classes
from dspt.model.artifact import TunedModel
from dspt.model.predict import linear_classifier
from dspt.pipeline import tune
from dspt.prompt.learner import zero_shot_embeddings


def measure(options: Namespace, document: Document, console: Console) -> None:
    """Fill in one record per data set, share of wrong labels and seed."""
    sweep(
        "add_class",
        *(options, document, console),
        [{"rate": rate, "seed": seed} for rate in options.rates for seed in options.seeds],
        cell,
        settings=("shots", "kind", "held_out"),
        tunings=1 + options.held_out,
    )
    document["settings"]["rates"] = options.rates


def cell(
    options: Namespace,
    config: TuneConfig,
    backbone: Backbone,
    dataset: Dataset,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Return the record of one data set, share of wrong labels and seed.

    Its ways to classify: `before`, the tuned model without the class; `by_name`, with the class
    added; `prompt`, the tuned prompt alone; `zero_shot`; `retrained`, tuned with photos of it.
    """
    tunings, seed = count(1), config.seed

    def tuned(of: Dataset) -> TunedModel:
        shots = plant(of, options.shots, options.rate, options.kind, "global", seed).dataset
        model = tune(shots, config, feature_dir=options.features, backbone=backbone).model
        on_progress(next(tunings))
        return model

    features = encode_images(backbone, dataset, store=FeatureStore(options.features))[:, 0]
    rows = torch.tensor([item.split == "test" for item in dataset.items])
    features = features[rows].to(backbone.device)
    truth = [dataset.classes[item.label] for item in dataset.of_split("test")]

    retrained = linear_classifier(tuned(dataset), backbone)
    order = np.random.default_rng(seed).permutation(len(dataset.classes))
    held_out = [dataset.classes[at] for at in order[: options.held_out]]
    found = []
    for name in held_out:
        words = dataset.class_words[dataset.classes.index(name)]
        model = tuned(without(dataset, name))
        extended = add_classes(model, {name: words}, backbone)
        models = {
            "before": linear_classifier(model, backbone),
            "by_name": linear_classifier(extended, backbone),
            "prompt": linear_classifier(dataclasses.replace(extended, blend=None), backbone),
            "zero_shot": _zero_shot(extended, backbone),
        }
        classes = extended.manifest.classes
        scores = {way: score(each, features, classes, truth, name) for way, each in models.items()}
        scores["retrained"] = score(retrained, features, dataset.classes, truth, name)
        found.append({"class": name, "served": model.manifest.served, **scores})
    return {
        "rate": options.rate,
        "seed": seed,
        "classes": len(dataset.classes),
        "test_images": len(truth),
        "held_out": found,
    }


def without(dataset: Dataset, name: str) -> Dataset:
    """Return `dataset` without the class `name`. Both share one source."""
    gone = dataset.classes.index(name)
    rows = [row for row, item in enumerate(dataset.items) if item.label != gone]
    items = [dataset.items[row] for row in rows]
    found = dataclasses.replace(
        dataset,
        classes=dataset.classes[:gone] + dataset.classes[gone + 1 :],
        class_words=dataset.class_words[:gone] + dataset.class_words[gone + 1 :],
        items=tuple(dataclasses.replace(i, label=i.label - (i.label > gone)) for i in items),
        hashes=tuple(dataset.hashes[row] for row in rows),
    )
    return dataclasses.replace(found, sha256=found.digest())


def score(
    classifier: LinearClassifier,
    features: Tensor,
    classes: Sequence[str],
    truth: list[str],
    new: str,
) -> dict[str, float]:
    """Return the accuracy on images of the old classes and of the new one, from 0 to 1.

    And their harmonic mean, which is high only if both are (Xian et al., CVPR 2017). features:
    (N, D); the old classes are those that the model was tuned on.
    """
    # Without the new class the model has one row less.
    best = classifier.logits(features).argmax(1).tolist()
    right = np.array([classes[at] == name for at, name in zip(best, truth, strict=True)])
    is_new = np.array([name == new for name in truth])
    old, added = float(right[~is_new].mean()), float(right[is_new].mean())
    return {"old": old, "new": added, "harmonic": harmonic_mean([old, added])}


def _zero_shot(model: TunedModel, backbone: Backbone) -> LinearClassifier:
    classes = zero_shot_embeddings(backbone, model.manifest.class_words)
    return LinearClassifier.from_text(classes, backbone.logit_scale)
