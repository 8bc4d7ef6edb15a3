"""`python -m dspt.backbones.convert NAME DIGEST FOLDER`: convert an image tower for OpenVINO.

A separate program, because torch's export changes global state of torch while it runs, and loads
many modules that are not needed afterwards.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dspt.backbones.base import Backbone
from dspt.backbones.compiled import ABOUT, MODEL, import_openvino, probe
from dspt.backbones.exported import exported


class CannotConvert(Exception):
    """torch cannot export the tower, or OpenVINO does not support one of its operators."""


def convert(tower: nn.Module, image_size: int) -> Any:
    """Return the openvino.Model of a tower (B, 3, H, W) -> (B, F). Raises CannotConvert."""
    import_openvino()
    from openvino import frontend
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder
    from openvino.frontend.pytorch.torchdynamo.export_decompositions import ops_to_not_decompose
    from torch.export.decomp_utils import CustomDecompTable

    table: Any = CustomDecompTable()  # type: ignore[no-untyped-call]
    for operator in ops_to_not_decompose():  # OpenVINO has these operators
        if operator in table:
            table.pop(operator)
    try:
        program = exported(tower, image_size)
        with torch.no_grad():
            graph = program.run_decompositions(table).module()
        # The steps of openvino.convert_model, which would also send usage statistics.
        reader = frontend.FrontEndManager().load_by_framework("pytorch")
        decoder = TorchFXPythonDecoder(
            graph, dynamic_shapes=True
        )  # must not be freed before the end
        model = reader.convert(reader.load(decoder))
    except (RuntimeError, frontend.GeneralFailure, frontend.OpConversionFailure) as error:
        raise CannotConvert(str(error)) from error
    model.reshape([-1, 3, image_size, image_size])
    return model


def describe(backbone: Backbone) -> dict[str, Any]:
    """Return what is needed, besides the model, to classify with the tower and without torch."""
    return {
        "name": backbone.name,
        "digest": backbone.digest,
        "embed_dim": backbone.embed_dim,
        "feature_dim": backbone.feature_dim,
        "image_size": backbone.image_size,
        "preprocess": asdict(backbone.preprocess.cfg),
        "probe_features": backbone.encode_image(
            torch.from_numpy(probe(backbone.image_size))
        ).tolist(),
    }


def main(name: str, digest: str, folder: str) -> None:
    """Write the image tower of the backbone `name`, whose digest must be `digest`, to `folder`."""
    from dspt.backbones import load_backbone

    openvino = import_openvino()

    backbone = load_backbone(name)
    if backbone.digest != digest:
        sys.exit(f"the weights of {name} have changed to {backbone.digest[:12]}")
    about = describe(backbone)
    try:
        model = convert(backbone.image_tower, backbone.image_size)
    except CannotConvert as error:
        sys.exit(str(error))
    # Full precision: weights in float16 would change the features.
    openvino.save_model(model, Path(folder) / MODEL, compress_to_fp16=False)
    (Path(folder) / ABOUT).write_text(json.dumps(about), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
