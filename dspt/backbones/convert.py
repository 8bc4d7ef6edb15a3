"""`python -m dspt.backbones.convert NAME FILE`: convert an image tower to OpenVINO's format.

A separate program, because torch's export changes global state of torch while it runs, and loads
many modules that are not needed afterwards.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dspt.backbones.compiled import import_openvino
from dspt.backbones.exported import exported


class CannotConvert(Exception):
    """torch cannot export the tower, or OpenVINO does not support one of its operators."""


def convert(tower: nn.Module, image_size: int) -> Any:
    """Return the openvino.Model of a tower (B, 3, H, W) -> (B, D). Raises CannotConvert."""
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


def main(name: str, file: str) -> None:
    """Convert the image tower of the backbone `name` and write it to `file`."""
    from dspt.backbones import load_backbone

    openvino = import_openvino()

    backbone = load_backbone(name)
    try:
        model = convert(backbone.image_tower, backbone.image_size)
    except CannotConvert as error:
        sys.exit(str(error))
    # Full precision: weights in float16 would change the features.
    openvino.save_model(model, Path(file), compress_to_fp16=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
