"""Common input of both trainers: random weights, ImageNet's class names, generated photos."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from timm.data.imagenet_info import ImageNetInfo

from dspt.backbones.base import Backbone
from dspt.backbones.text_tower import open_clip_text_tower
from dspt.backbones.tokenizer import OpenClipTokenizer
from dspt.backbones.transforms import Preprocess, make_augment
from dspt.prompt.trainer import Run, Schedule, epoch_order

SHOTS = 16
EPOCHS = 50
BATCH = 32
PHOTOS = 64
"""Files on disk; a larger training set repeats them."""
PHOTO_SIZE = (500, 375)


@dataclass(frozen=True)
class Case:
    """What one process measures."""

    backbone: str
    """An architecture of open_clip; its weights are random."""
    classes: int
    precision: str
    """`float32` or `bfloat16` (autocast)."""
    steps: int
    """Steps after which the learned contexts are compared."""
    photos: Path
    device: str = "cpu"
    n_ctx: int = 16
    seed: int = 1
    lr: float = 0.002

    @property
    def autocast(self) -> torch.dtype | None:
        return torch.bfloat16 if self.precision == "bfloat16" else None

    @property
    def run(self) -> Run:
        """Return CoOp's run: cross-entropy over the images of `steps` batches."""
        return Run(np.arange(self.steps * BATCH), "ce", self.lr, self.seed)

    @property
    def schedule(self) -> Schedule:
        """Return one epoch, with the learning rate at its peak."""
        return Schedule(1, BATCH)

    @property
    def labels(self) -> torch.Tensor:
        """Return the label of every image, balanced, in an order by the seed."""
        rng = np.random.default_rng((self.seed, self.classes))
        return torch.from_numpy(rng.permutation(np.arange(self.steps * BATCH) % self.classes))

    def order(self) -> list[list[int]]:
        """Return the images of each step in the order of our trainer."""
        rows, _ = epoch_order([self.run], BATCH, 1, 0)
        found: list[list[int]] = rows[:, 0].tolist()
        return found


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step: its text part and the whole, by the clock and of all CPUs.

    Other programs lengthen the clock time but not the CPU time. See `clocks`.
    """

    text: float
    whole: float
    text_cpu: float
    whole_cpu: float


def class_names(count: int) -> list[str]:
    """Return `count` names of ImageNet, evenly spaced; beyond 1,000 they repeat with a number."""
    info: Any = ImageNetInfo()
    names = [info.index_to_description(i).split(",")[0] for i in range(info.num_classes())]
    if count <= len(names):
        return [names[i * len(names) // count] for i in range(count)]
    return [f"{names[i % len(names)]} {i // len(names)}".removesuffix(" 0") for i in range(count)]


def write_photos(folder: Path, seed: int) -> None:
    """Write PHOTOS files in two classes; smooth shapes and grain compress like photographs."""
    rng = np.random.default_rng(seed)
    for number in range(PHOTOS):
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        shapes = Image.fromarray(coarse).resize(PHOTO_SIZE, Image.Resampling.BICUBIC)
        grain = rng.normal(0, 12, (PHOTO_SIZE[1], PHOTO_SIZE[0], 3))
        pixels = np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8)
        path = folder / f"half {'ab'[number % 2]}" / f"{number:04d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)


def build_backbone(name: str, seed: int, device: str) -> tuple[Any, Backbone]:
    """Return the model of open_clip with random weights, and its backbone."""
    torch.manual_seed(seed)
    model: Any = open_clip.create_model(name, pretrained=None, load_weights=False)
    tower = open_clip_text_tower(model)
    model.to(device)
    size = model.visual.image_size
    cfg = model.visual.preprocess_cfg | {"size": size}
    side = size if isinstance(size, int) else int(size[0])
    backbone = Backbone(
        name=name,
        digest="0" * 64,  # nothing is stored under it
        image_tower=model.visual,
        text_tower=tower,
        tokenizer=OpenClipTokenizer(SimpleTokenizer()),
        preprocess=Preprocess(cfg),
        augment=make_augment(cfg),
        logit_scale=math.exp(model.logit_scale.item()),
        embed_dim=int(open_clip.get_model_config(name)["embed_dim"]),
        image_size=side,
        activation="quickgelu" if "quickgelu" in name else "gelu",
    )
    return model, backbone


def clocks(device: str) -> tuple[float, float]:
    """Wait for the device; return the seconds now by the clock and of all CPUs.

    With a GPU the CPU time says nothing: both are those of the clock.
    """
    sync(device)
    now = time.perf_counter()
    return now, time.process_time() if device == "cpu" else now


def sync(device: str) -> None:
    """Wait until the device has finished."""
    if device != "cpu":
        torch.cuda.synchronize()
