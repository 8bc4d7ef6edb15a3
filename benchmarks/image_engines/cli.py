"""The command: its options, and what it writes."""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import track
from torch import Tensor

from benchmarks.arguments import add_results, positive
from benchmarks.image_engines.engines import make_engines
from benchmarks.image_engines.measure import Agreement, rows, timings
from benchmarks.image_engines.report import markdown
from benchmarks.noise_robustness.report import machine
from dspt.backbones import Backbone, load_backbone
from dspt.data import load_dataset, read_image
from dspt.kit.cpus import available_cpus
from dspt.kit.files import atomic_write
from scripts.demo.data import PHOTOGRAPHS, make_demo_data

PROGRAM = "python -m benchmarks.image_engines"
NAME = "image_engines"
_PACKAGES = ("torch", "timm", "open_clip_torch", "openvino", "onnxruntime")

_DESCRIPTION = """\
How fast image towers are on this CPU: torch as it is, with channels last, rounding to bfloat16, and
compiled; ONNX Runtime; OpenVINO, exact and rounding. Measures one image by itself and batches, in
rounds in which all take turns, and whether the answers stay the same. Needs no data and no
downloads for the built-in backbone; `--backbone ViT-B-16/openai` downloads."""


def main(arguments: Sequence[str]) -> int:
    """Exit status."""
    options = _parser().parse_args(arguments)
    console, errors = Console(), Console(stderr=True)
    torch.set_num_threads(options.threads)
    document: dict[str, Any] = {
        "command": shlex.join([*PROGRAM.split(), *arguments]),
        "machine": _machine(),
        "versions": {"Python": platform.python_version()} | _versions(),
        "threads": options.threads,
        "rounds": options.rounds,
        "batch": options.batch,
        "images": options.images,
        "classes": len(PHOTOGRAPHS),
        "backbones": {},
    }
    for name in options.backbone:
        found = measure(load_backbone(name), options, errors)
        document["backbones"][name] = found
    text = markdown(document)
    atomic_write(options.out / f"{NAME}.json", (json.dumps(document, indent=1) + "\n").encode())
    atomic_write(options.out / f"{NAME}.md", text.encode())
    console.print(Markdown(text))
    return 0


def measure(
    backbone: Backbone, options: argparse.Namespace, errors: Console
) -> list[dict[str, Any]]:
    """The rows of one backbone."""
    with tempfile.TemporaryDirectory() as folder:
        batches = _batches(backbone, options.images, options.batch)
        first = next(batches)
        engines = make_engines(backbone, Path(folder), first)
        agreement = Agreement(backbone, [photograph.folder for photograph in PHOTOGRAPHS])
        agreement.add(engines, first)
        more = -(-options.images // options.batch) - 1
        for pixels in track(batches, "comparing", total=more, console=errors):
            agreement.add(engines, pixels)
        rounds = timings(engines, first, options.rounds)
        *_, timed = track(rounds, "timing", total=options.rounds, console=errors)
        return rows(engines, timed, agreement)


def _batches(backbone: Backbone, images: int, size: int) -> Iterator[Tensor]:
    """Pixels of so many photos, in batches."""
    photos = islice(_photos(), images)
    while batch := list(islice(photos, size)):
        yield torch.stack([backbone.preprocess(photo) for photo in batch])


def _photos() -> Iterator[Image.Image]:
    """Crops of the demo's photographs, ever new ones."""
    for seed in count(1):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "photos.zip"
            file.write_bytes(make_demo_data(seed).zip)
            with load_dataset(file) as dataset:
                for item in dataset.items:
                    yield read_image(dataset, item)


def _machine() -> str:
    found = machine()
    return f"{found['processor']}, {found['cpus']} CPUs, {found['system']}"


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # its engine cannot, and says so
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Close other programs first: on a busy machine all figures suffer.",
    )
    parser.add_argument(
        "--backbone", nargs="+", default=["builtin"], metavar="NAME", help="default: builtin"
    )
    numbers = (
        ("--rounds", 7, "in which each engine has its turn"),
        ("--batch", 32, "images at once"),
        ("--images", 1000, "photos whose scores are compared"),
        ("--threads", available_cpus(), "of each engine"),
    )
    for option, default, help_ in numbers:
        parser.add_argument(
            option,
            type=positive,
            default=default,
            metavar="N",
            help=f"{help_} (default: {default})",
        )
    add_results(parser)
    return parser
