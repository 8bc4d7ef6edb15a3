"""Example program for an exported file."""

EXAMPLE = """\
# pip install onnxruntime pillow
import json, re, sys
import numpy as np, onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1])
about = session.get_modelmeta().custom_metadata_map
classes, side = json.loads(about["classes"]), int(about["read_side"])
for file in sys.argv[2:]:
    photo = Image.open(file)
    photo.draft(photo.mode, (side, side))  # a large JPEG: decode it at a reduced size
    photo = ImageOps.exif_transpose(photo)
    if photo.mode.startswith("I"):  # 16 bits per sample, of which cameras often use fewer
        samples = np.asarray(photo).astype(np.uint32)
        largest = int(samples.max())
        bits = max(8, (largest.bit_length() + 1) // 2 * 2)
        if stated := re.search(rb"\\0\\0\\0\\x01sBIT([\\x08-\\x10])", open(file, "rb").read(1000)):
            bits = stated[1][0]  # of a PNG; by its standard the upper bits, often the lower ones
            if largest >> bits or not (samples & (0xFFFF >> bits)).any():
                bits = 16
        full = 2**bits - 1
        photo = Image.fromarray(((samples * 255 + full // 2) // full).astype(np.uint8))
    photo = photo.convert("RGBA")
    rgb = Image.new("RGB", photo.size, "white")
    rgb.paste(photo, mask=photo)
    [[p]] = session.run(["probabilities"], {"images": np.asarray(rgb)[None]})
    print(file, classes[p.argmax()], f"{p.max():.3f}")
"""
"""Photos of the same size can be batched as (N, H, W, 3)."""
