"""Export an image tower as a graph, for ONNX and OpenVINO."""

from __future__ import annotations

import torch
from torch import nn
from torch.export import ExportedProgram

_MAX_BATCH = 4096


def exported(tower: nn.Module, image_size: int) -> ExportedProgram:
    """Return the graph of a module (B, 3, H, W) -> (B, ...), for any B.

    Changes global state of torch while it runs, so no other thread may use torch.
    Raises RuntimeError if torch cannot export the module.
    """
    pixels = torch.zeros(2, 3, image_size, image_size)
    batch = torch.export.Dim("batch", min=1, max=_MAX_BATCH)
    # torch's fast path for attention is a single operator that other libraries do not support.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            return torch.export.export(tower, (pixels,), dynamic_shapes=({0: batch},))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
