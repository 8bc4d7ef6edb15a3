"""Example program for an exported file."""

EXAMPLE = """\
# pip install onnxruntime pillow
import json, sys
import numpy as np, onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1])
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
for file in sys.argv[2:]:
    photo = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    [[p]] = session.run(["probabilities"], {"images": np.asarray(photo)[None]})
    print(file, classes[p.argmax()], f"{p.max():.3f}")
"""
"""Photos of the same size can be batched as (N, H, W, 3)."""
