"""An image tower as a graph that other programs can be made from."""

from __future__ import annotations

import torch
from torch import nn
from torch.export import ExportedProgram

_MAX_BATCH = 4096


def exported(tower: nn.Module, image_size: int) -> ExportedProgram:
    """The graph of a module (B, 3, H, W) -> (B, ...), for any B.

    torch works in another way in the whole process meanwhile: nothing else may run beside it.
    Raises RuntimeError where the module does what torch cannot export.
    """
    pixels = torch.zeros(2, 3, image_size, image_size)
    batch = torch.export.Dim("batch", min=1, max=_MAX_BATCH)
    # torch's own fast path for attention is one operator, which nobody else knows.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            return torch.export.export(tower, (pixels,), dynamic_shapes=({0: batch},))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
