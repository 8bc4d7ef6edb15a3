"""`python -m benchmarks.image_engines`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from benchmarks.image_engines.report import markdown
from benchmarks.skeleton.options import add_results, new_parser, positive
from benchmarks.skeleton.program import Benchmark, Document, run
from dspt.kit.cpus import available_cpus

NAME = "image_engines"
_DESCRIPTION = """\
Speed of image towers on this CPU in torch (plain, channels last, bfloat16, compiled), ONNX Runtime
and OpenVINO (float32 and bfloat16). Measures single images and batches, in rounds in which all
engines take turns, and compares their answers. Needs no data; the built-in backbone needs no
download, `--backbone ViT-B-16/openai` does."""


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    packages = ("torch", "timm", "open_clip_torch", "openvino", "onnxruntime")
    return run(Benchmark(NAME, _parser(), _measure, markdown, packages=packages), arguments)


def _measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    import torch

    from benchmarks.image_engines.measure import CLASSES, measure
    from dspt.backbones import load_backbone

    torch.set_num_threads(options.threads)
    settings = ("threads", "rounds", "batch", "images")
    document |= {name: getattr(options, name) for name in settings}
    document |= {"classes": len(CLASSES), "backbones": {}}
    for name in options.backbone:
        document["backbones"][name] = measure(load_backbone(name), options, console)


def _parser() -> argparse.ArgumentParser:
    epilog = "Close other programs first: a busy machine distorts all figures."
    parser = new_parser(NAME, _DESCRIPTION, epilog)
    parser.add_argument(
        "--backbone", nargs="+", default=["builtin"], metavar="NAME", help="default: builtin"
    )
    for option, default, text in (
        ("--rounds", 7, "rounds; each engine has one turn per round"),
        ("--batch", 32, "images per batch"),
        ("--images", 1000, "photos whose scores are compared"),
        ("--threads", available_cpus(), "threads of each engine"),
    ):
        parser.add_argument(
            option,
            type=positive,
            default=default,
            metavar="N",
            help=f"{text} (default: {default})",
        )
    add_results(parser)
    return parser
