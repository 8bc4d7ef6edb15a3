"""Build one ONNX file from a tuned model and its backbone."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import onnx
import torch
from onnx import compose, helper
from PIL import Image
from torch import Tensor, nn

from dspt.backbones.base import Backbone, unit_features
from dspt.backbones.exported import exported
from dspt.classifier.linear import LinearClassifier
from dspt.errors import ExportError
from dspt.model.artifact import Manifest, TunedModel
from dspt.model.onnx.check import Comparison, compare
from dspt.model.onnx.example import EXAMPLE
from dspt.model.onnx.preprocessing import preprocessing
from dspt.model.predict import ImageClassifier

OPSET = 18
"""First version in which Resize has antialias."""
_MAX_BYTES = 2**31 - 2**24
"""A file holds at most 2 GiB, including the graph."""


def export(
    model: TunedModel, backbone: Backbone, path: Path, images: Sequence[Image.Image]
) -> Comparison:
    """Implement `dspt.model.onnx.export_onnx`."""
    classifier = ImageClassifier(model, backbone)
    graph = _graph(classifier.linear, backbone)
    _describe(graph, model.manifest, backbone.read_side)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        onnx.save(graph, part)
        comparison = compare(part, classifier, backbone, images)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return comparison


class _Predictor(nn.Module):
    """(B, 3, H, W) -> probabilities (B, C)."""

    def __init__(self, tower: nn.Module, embed_dim: int, linear: LinearClassifier) -> None:
        super().__init__()
        self.tower, self.embed_dim = tower, embed_dim
        self.matrix = nn.Parameter(linear.matrix, requires_grad=False)
        self.bias = nn.Parameter(linear.bias, requires_grad=False)

    def forward(self, pixels: Tensor) -> Tensor:
        features = unit_features(self.tower(pixels).float(), self.embed_dim)
        return LinearClassifier(self.matrix, self.bias).probabilities(features)


def _graph(linear: LinearClassifier, backbone: Backbone) -> onnx.ModelProto:
    predictor = _Predictor(backbone.image_tower, backbone.embed_dim, linear).eval()
    size = sum(tensor.nbytes for tensor in (*predictor.parameters(), *predictor.buffers()))
    if size > _MAX_BYTES:
        raise ExportError(
            f"the image tower of {backbone.name} takes {size / 2**30:.1f} GiB, but an ONNX file "
            "holds at most 2 GiB; choose a smaller backbone"
        )
    first = preprocessing(backbone.preprocess.cfg, onnx.IR_VERSION, OPSET)  # refuses in no time
    try:
        program = exported(predictor, backbone.image_size)
        written = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False)
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(f"torch cannot export the tower of {backbone.name}: {reason}") from error
    assert written is not None  # None only if written to a file directly
    tower: onnx.ModelProto = written.model_proto
    first.ir_version = tower.ir_version
    return _joined(first, tower, len(linear.matrix))


def _joined(first: onnx.ModelProto, tower: onnx.ModelProto, n_classes: int) -> onnx.ModelProto:
    """Join preprocessing (`images` -> `pixels`) and tower (`pixels` -> `probabilities`)."""
    model = compose.merge_models(
        first,
        compose.add_prefix(tower, "tower/"),
        io_map=[("pixels", f"tower/{tower.graph.input[0].name}")],
        name="predictor",
        producer_name="dspt",
        producer_version=version("dspt"),
    )
    graph = model.graph
    graph.node.append(
        helper.make_node("Identity", [graph.output[0].name], ["probabilities"], "probabilities")
    )
    shape: list[str | int | None] = ["N", n_classes]
    output = helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, shape)
    del graph.output[:], graph.value_info[:], graph.metadata_props[:]
    graph.output.append(output)
    # Remove tracebacks of the export, which contain local paths.
    for part in (*graph.node, *graph.initializer, *graph.input):
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def _describe(graph: onnx.ModelProto, manifest: Manifest, read_side: int) -> None:
    """Add the classes, the origin of the model and the example to the file's metadata."""
    graph.doc_string = EXAMPLE
    helper.set_model_props(
        graph,
        {
            "classes": json.dumps(manifest.classes, ensure_ascii=False),
            "class_words": json.dumps(manifest.class_words, ensure_ascii=False),
            "served": manifest.served,
            "backbone": manifest.config.backbone,
            "backbone_digest": manifest.backbone_digest,
            "dataset_sha256": manifest.dataset_sha256,
            "read_side": str(read_side),
            "input": "images: uint8 RGB (N, H, W, 3), upright, of any size",
            "output": "probabilities: float32 (N, classes)",
        },
    )
