"""Classifies each test image by the text embedding of its class."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.skeleton.program import Document, grid_progress
from dspt.backbones import Backbone
from dspt.backbones.builtin import load_builtin
from dspt.data import load_dataset, read_image
from dspt.prompt.learner import zero_shot_embeddings

BATCH = 32


def measure(options: Namespace, document: Document, console: Console) -> None:
    """Fill in the digest of the weights and a row per data set."""
    backbone = load_builtin(folder=options.weights)
    document |= {"backbone_digest": backbone.digest, "datasets": []}
    with grid_progress(console) as bar:
        for path in bar.track(options.data, description="measuring"):
            document["datasets"].append(accuracy(backbone, path))


def accuracy(backbone: Backbone, path: Path) -> dict[str, Any]:
    """Return name, classes, images, accuracy and chance (in percent) of one data set."""
    with load_dataset(path) as dataset:
        items = dataset.of_split("test") or dataset.items
        classes = zero_shot_embeddings(backbone, dataset.class_words)
        right = 0
        for at in range(0, len(items), BATCH):
            batch = items[at : at + BATCH]
            pixels = torch.stack([backbone.preprocess(read_image(dataset, i)) for i in batch])
            embeddings = backbone.encode_image(pixels)[:, : backbone.embed_dim]
            guessed = (embeddings @ classes.T).argmax(1)
            right += int((guessed == torch.tensor([i.label for i in batch])).sum())
    found = {"dataset": path.stem, "classes": len(dataset.classes), "images": len(items)}
    return found | {"accuracy": 100 * right / len(items), "chance": 100 / len(dataset.classes)}
