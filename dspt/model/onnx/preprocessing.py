"""Preprocessing of Pillow and torchvision in ONNX operators.

ONNX Runtime resizes bytes as Pillow does: with antialiasing, first along rows, then along columns,
rounded to bytes after each. On photos 99.97 % of the values are equal; the others differ by 1 or 2
of 255.
"""

from __future__ import annotations

import onnx
from onnx import parser
from open_clip.transform import PreprocessCfg

from dspt.errors import ExportError

_FILTERS = {
    "bicubic": 'mode = "cubic", cubic_coeff_a = -0.5',
    "bilinear": 'mode = "linear"',
}
"""Pillow's interpolation -> attributes of Resize."""
_GRAPH = """
<ir_version: {ir}, opset_import: ["": {opset}]>
preprocess (uint8[N, H, W, 3] images) => (float[N, 3, {height}, {width}] pixels) {{
  planes = Transpose <perm = [0, 3, 1, 2]> (images)
  batch = Shape <end = 2> (planes)
  size = Constant <value_ints = [{height}, {width}]> ()
  {target}
  sizes = Concat <axis = 0> (batch, target)
  resized = Resize <antialias = 1, exclude_outside = 1,
    coordinate_transformation_mode = "half_pixel", {filter}> (planes, , , sizes)
  two = Constant <value_ints = [2]> ()
  spare = Sub (target, size)
  half = Div (spare, two)
  {rounding}
  start = Add (half, up)
  end = Add (start, size)
  axes = Constant <value_ints = [2, 3]> ()
  crop = Slice (resized, start, end, axes)
  values = Cast <to = 1> (crop)
  most = Constant <value_float = 255.0> ()
  shares = Div (values, most)
  mean_flat = Constant <value_floats = {mean}> ()
  std_flat = Constant <value_floats = {std}> ()
  planewise = Constant <value_ints = [3, 1, 1]> ()
  mean = Reshape (mean_flat, planewise)
  std = Reshape (std_flat, planewise)
  centred = Sub (shares, mean)
  pixels = Div (centred, std)
}}
"""
_TARGET = {
    # The short side gets the target length; the long one is rounded down.
    "shortest": """
  photo = Shape <start = 2> (planes)
  short = ReduceMin <keepdims = 1> (photo)
  scaled = Mul (photo, size)
  target = Div (scaled, short)""",
    "squash": "target = Identity (size)",
}
_TO_EVEN = """
  odd = Mod (spare, two)
  half_odd = Mod (half, two)
  up = Mul (odd, half_odd)"""
"""torchvision centres the crop with Python's round(), which rounds halves to even."""


def preprocessing(cfg: PreprocessCfg, ir: int, opset: int) -> onnx.ModelProto:
    """`images` (N, H, W, 3) uint8 RGB -> `pixels` (N, 3, height, width) float32, normalised.

    Raises ExportError for an unsupported resize mode.
    """
    height, width = cfg.input_size[1:]
    square = height == width
    filter_ = _FILTERS.get("bilinear" if cfg.interpolation == "bilinear" else "bicubic", "")
    target = _TARGET.get(cfg.resize_mode)
    if target is None or not (square or cfg.resize_mode == "squash"):
        raise ExportError(
            f"the backbone's preprocessing (resize_mode {cfg.resize_mode!r}, {height} x {width}) "
            "cannot be exported. Supported: resizing to a square by the shortest side, and "
            "squashing"
        )
    text = _GRAPH.format(
        ir=ir,
        opset=opset,
        height=height,
        width=width,
        target=target,
        filter=filter_,
        rounding=_TO_EVEN,
        mean=[float(value) for value in cfg.mean],
        std=[float(value) for value in cfg.std],
    )
    return parser.parse_model(text)
