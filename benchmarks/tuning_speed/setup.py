"""Common input of both trainers: random weights, ImageNet's class names, generated photos."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from timm.data.imagenet_info import ImageNetInfo

from dspt.backbones.base import Backbone
from dspt.backbones.text_tower import open_clip_text_tower
from dspt.backbones.tokenizer import OpenClipTokenizer
from dspt.backbones.transforms import Preprocess, make_augment
from dspt.data import load_dataset
from dspt.prompt.schedule import Run, Schedule, epoch_order

SHOTS = 16
EPOCHS = 50
BATCH = 32
N_CTX = 16
"""Context vectors."""
LR = 0.002
"""CoOp's."""
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
    seed: int = 1

    @property
    def autocast(self) -> torch.dtype | None:
        return torch.bfloat16 if self.precision == "bfloat16" else None

    @property
    def run(self) -> Run:
        """Return CoOp's run: cross-entropy over the images of `steps` batches."""
        return Run(np.arange(self.steps * BATCH), "ce", LR, self.seed)

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


class Trainer:
    """Model, photos and labels of a case, in a process whose memory is measured."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._model, self._backbone = build_backbone(case.backbone, case.seed, case.device)
        self._dataset = load_dataset(case.photos)
        self._names = class_names(case.classes)
        self._labels = case.labels.to(case.device)
        self._context: torch.Tensor
        self._in_use = 0
        """Bytes of model, features and libraries."""

    def context(self) -> NDArray[np.float32]:
        """Return the context (M, W) learned so far."""
        found: NDArray[np.float32] = self._context.detach().cpu().numpy()
        return found

    def memory(self) -> int:
        """Return the peak of the memory in bytes beyond what was in use before the first step."""
        return max(0, peak(self._case.device) - self._in_use)


def class_names(count: int) -> list[str]:
    """Return `count` names of ImageNet, evenly spaced; those that repeat have a number."""
    info: Any = ImageNetInfo()
    names = [info.index_to_description(i).split(",")[0] for i in range(info.num_classes())]
    if count <= len(names):
        names = [names[i * len(names) // count] for i in range(count)]
    seen, found = Counter[str](), []
    for name in islice(cycle(names), count):
        before = seen[name.lower()]  # `drake` and `Drake` would be one folder on some machines
        found.append(f"{name} {before}" if before else name)
        seen[name.lower()] += 1
    return found


def write_photos(folder: Path, seed: int) -> None:
    """Write PHOTOS files in two classes; smooth shapes and grain compress like photographs."""
    rng = np.random.default_rng(seed)
    for number in range(PHOTOS):
        shapes = smooth_shapes(coarse_pixels(rng), PHOTO_SIZE)
        grain = rng.normal(0, 12, (PHOTO_SIZE[1], PHOTO_SIZE[0], 3))
        pixels = np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8)
        path = folder / f"half {'ab'[number % 2]}" / f"{number:04d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)


def coarse_pixels(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return random pixels for `smooth_shapes`, different each time."""
    return rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def smooth_shapes(coarse: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    """Return coarse pixels as an image of soft shapes."""
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


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
    if device != "cpu":
        torch.cuda.synchronize()
    now = time.perf_counter()
    return now, time.process_time() if device == "cpu" else now


def reset_peak(device: str) -> int:
    """Forget the peak of the memory so far; return the bytes in use now."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
    return _status("VmRSS")


def peak(device: str) -> int:
    """Return the peak of the memory in bytes."""
    return torch.cuda.max_memory_allocated() if device != "cpu" else _status("VmHWM")


def _status(name: str) -> int:
    """Return a line of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
