"""Export a tuned classifier as one ONNX file, which runs without dspt and torch.

    from dspt.model.onnx import export_onnx

    print(export_onnx(load_model(path), load_backbone(name), Path("predictor.onnx")))

The graph contains resizing, cropping, the image tower and the classes: its input is photos of any
size, its output probabilities. `EXAMPLE` shows how to use the file and is stored in it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from dspt.errors import ExportError
from dspt.model.onnx.example import EXAMPLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from dspt.backbones.base import Backbone
    from dspt.model.artifact import TunedModel
    from dspt.model.onnx.check import Comparison

__all__ = ["EXAMPLE", "export_onnx"]

_NEEDED = ("onnx", "onnxruntime", "onnxscript")


def export_onnx(
    model: TunedModel, backbone: Backbone, path: Path, images: Sequence[Image.Image] = ()
) -> Comparison:
    """Write `model` on `backbone`, which must be on the CPU, to `path`; return how it compares.

    Before it is saved, the file is run in ONNX Runtime on generated images of several shapes and on
    `images` (RGB), and compared with torch. Nothing else may use torch in this process meanwhile.
    Raises ExportError if packages are missing, the tower or its preprocessing cannot be exported,
    the answers differ, or the file would be too large; OSError.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ExportError(f"ONNX export needs more packages: pip install {' '.join(missing)}")
    from dspt.model.onnx.export import export

    return export(model, backbone, path, images)
