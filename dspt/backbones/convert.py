"""`python -m dspt.backbones.convert NAME FILE`: write an image tower as OpenVINO reads it.

A program of its own: torch's export changes how torch works in the whole process meanwhile, so
nothing else may run beside it, and it loads much that nobody needs afterwards.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dspt.backbones.exported import exported


class CannotConvert(Exception):
    """The tower does what torch cannot export, or what OpenVINO does not know."""


def convert(tower: nn.Module, image_size: int) -> Any:
    """The openvino.Model of a tower (B, 3, H, W) -> (B, D). Raises CannotConvert."""
    from openvino import frontend
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder
    from openvino.frontend.pytorch.torchdynamo.export_decompositions import ops_to_not_decompose
    from torch.export.decomp_utils import CustomDecompTable

    whole: Any = CustomDecompTable()  # type: ignore[no-untyped-call]
    for operator in ops_to_not_decompose():  # OpenVINO knows them
        if operator in whole:
            whole.pop(operator)
    try:
        program = exported(tower, image_size)
        with torch.no_grad():
            graph = program.run_decompositions(whole).module()
        # The steps of openvino.convert_model, which reports what it did to its maker.
        reader = frontend.FrontEndManager().load_by_framework("pytorch")
        decoder = TorchFXPythonDecoder(graph, dynamic_shapes=True)  # has to live until the end
        model = reader.convert(reader.load(decoder))
    except (RuntimeError, frontend.GeneralFailure, frontend.OpConversionFailure) as error:
        raise CannotConvert(str(error)) from error
    model.reshape([-1, 3, image_size, image_size])
    return model


def main(name: str, file: str) -> None:
    import openvino

    from dspt.backbones import load_backbone

    backbone = load_backbone(name)
    try:
        model = convert(backbone.image_tower, backbone.image_size)
    except CannotConvert as error:
        sys.exit(str(error))
    # The weights as they are: rounded to half of their size they would be other features.
    openvino.save_model(model, Path(file), compress_to_fp16=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
