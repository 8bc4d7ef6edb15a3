"""`python -m benchmarks.image_engines`."""

import sys
from argparse import ArgumentParser

from benchmarks.skeleton.options import add, positive
from benchmarks.skeleton.program import BUSY, Benchmark, run
from dspt.kit.cpus import available_cpus

_DESCRIPTION = """\
Speed of image towers on this CPU in torch (plain, channels last, bfloat16, compiled), ONNX Runtime
and OpenVINO (float32 and bfloat16). Measures single images and batches, in rounds in which all
engines take turns, and compares their answers. Needs no data; the built-in backbone needs no
download, `--backbone ViT-B-16/openai` does."""


def _options(parser: ArgumentParser) -> None:
    add(parser, "--backbone", ["builtin"], "backbones", metavar="NAME")
    for option, default, text in (
        ("--rounds", 7, "rounds; each engine has one turn per round"),
        ("--batch", 32, "images per batch"),
        ("--images", 1000, "photos whose scores are compared"),
        ("--threads", available_cpus(), "threads of each engine"),
    ):
        add(parser, option, default, text, type=positive, metavar="N")


PACKAGES = ("torch", "timm", "open_clip_torch", "openvino", "onnxruntime")
BENCHMARK = Benchmark("image_engines", _DESCRIPTION, _options, BUSY, packages=PACKAGES)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
