"""How to use an exported file, in the words of a program."""

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
"""Photos of one size can go in together, as (N, H, W, 3); others one by one."""
