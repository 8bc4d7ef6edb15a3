"""Example program for an exported file."""

EXAMPLE = """\
# pip install onnxruntime pillow
import json, sys
import numpy as np, onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1])
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
for file in sys.argv[2:]:
    photo = ImageOps.exif_transpose(Image.open(file))
    if photo.mode.startswith("I"):  # 16 bits per sample, of which cameras often use fewer
        samples = np.asarray(photo).astype(np.uint32)
        full = 2 ** max(8, (int(samples.max()).bit_length() + 1) // 2 * 2) - 1
        photo = Image.fromarray(((samples * 255 + full // 2) // full).astype(np.uint8))
    photo = photo.convert("RGBA")
    rgb = Image.new("RGB", photo.size, "white")
    rgb.paste(photo, mask=photo)
    [[p]] = session.run(["probabilities"], {"images": np.asarray(rgb)[None]})
    print(file, classes[p.argmax()], f"{p.max():.3f}")
"""
"""Photos of the same size can be batched as (N, H, W, 3)."""
