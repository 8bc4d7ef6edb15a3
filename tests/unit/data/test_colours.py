from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from dataset_files import encoded, pixels, png_chunks
from PIL import Image

from dspt.data import decode_image
from dspt.data.images import check_image
from dspt.errors import ImageError


def test_grey_and_bilevel() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = np.repeat(grey[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(grey))), expected)
    bilevel = Image.new("1", (4, 2), 1)
    bilevel.putpixel((0, 0), 0)
    result = pixels(encoded(bilevel))
    assert result[0, 0].tolist() == [0, 0, 0]
    assert (result[1] == 255).all()


def test_alpha_is_laid_on_white() -> None:
    rgba = Image.new("RGBA", (3, 1))
    rgba.putdata([(10, 20, 30, 255), (10, 20, 30, 0), (0, 0, 0, 128)])
    for data in (encoded(rgba), encoded(rgba, "TIFF"), encoded(rgba, "WEBP", lossless=True)):
        result = pixels(data)[0].tolist()
        assert result == [[10, 20, 30], [255, 255, 255], [127, 127, 127]]


def test_grey_alpha_is_laid_on_white() -> None:
    la = Image.new("LA", (2, 1))
    la.putdata([(7, 255), (7, 0)])
    assert pixels(encoded(la))[0].tolist() == [[7, 7, 7], [255, 255, 255]]


def test_palette() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([1, 2, 3, 40, 50, 60])
    palette.putdata([0, 1])
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        assert pixels(encoded(palette, kind))[0].tolist() == [[1, 2, 3], [40, 50, 60]], kind


def test_palette_transparency_is_laid_on_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([1, 2, 3, 40, 50, 60])
    palette.putdata([0, 1])
    one_index = [encoded(palette, kind, transparency=1) for kind in ("PNG", "GIF")]
    per_index = encoded(palette, transparency=b"\xff\x00")  # the form that Pillow warns of
    for data in (*one_index, per_index):
        assert pixels(data)[0].tolist() == [[1, 2, 3], [255, 255, 255]]


@pytest.mark.parametrize(
    ("mode", "colour", "transparency"),
    [("L", 9, 9), ("RGB", (9, 8, 7), (9, 8, 7)), ("1", 0, 0)],
)
def test_one_transparent_colour_without_alpha(
    mode: str, colour: object, transparency: object
) -> None:
    data = encoded(Image.new(mode, (2, 2), colour), transparency=transparency)  # type: ignore[arg-type]
    assert (pixels(data) == 255).all()


def test_cmyk() -> None:
    cmyk = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    assert pixels(encoded(cmyk, "TIFF"))[0, 0].tolist() == [0, 255, 255]
    cyan = pixels(encoded(cmyk, "JPEG", quality=100))[4, 4].astype(int)
    assert abs(cyan - [0, 255, 255]).max() <= 3


def test_ycbcr_tiff() -> None:
    data = encoded(
        Image.new("RGB", (16, 16), (200, 30, 60)), "TIFF", compression="jpeg", quality=100
    )
    assert abs(pixels(data)[8, 8].astype(int) - [200, 30, 60]).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    deep = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    result = pixels(encoded(Image.fromarray(deep), kind))
    assert result[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    assert (result[:, :, 0] == result[:, :, 2]).all()


def test_big_endian_16_bit_tiff() -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 257, 65535))
    assert pixels(encoded(image, "TIFF"))[0, :, 0].tolist() == [1, 255]


def test_16_bit_rgb_png() -> None:
    row = b"\0" + struct.pack(">6H", 0, 0x8080, 0xFFFF, 0x1234, 0x0100, 0xFE00)
    data = png_chunks(2, 1, depth=16, colour=2, body=zlib.compress(row))
    assert pixels(data)[0].tolist() == [[0, 0x80, 0xFF], [0x12, 0x01, 0xFE]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 7, 255], [0, 7, 255]),
        ([0, 257, 65535], [0, 1, 255]),
        ([-100, 0, 100], [0, 128, 255]),
        ([0, 1 << 20, 1 << 21], [0, 128, 255]),
        ([-5, -5, -5], [0, 0, 0]),
    ],
)
def test_32_bit_integer_tiff(values: list[int], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.int32))
    assert pixels(encoded(image, "TIFF"))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.2, 1.0], [0, 51, 255]),
        ([0.0, 100.4, 255.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, float("nan"), 1.0], [0, 0, 255]),
        ([0.0, float("inf"), 0.5], [0, 0, 128]),
        ([3.0, 3.0, 3.0], [3, 3, 3]),
        ([300.0, 350.0, 400.0], [0, 128, 255]),
        ([300.0, float("nan"), 400.0], [0, 0, 255]),
        ([float("nan"), float("inf"), float("-inf")], [0, 0, 0]),
        ([-4.0, -4.0, -4.0], [0, 0, 0]),
        ([-3.0e38, 0.0, 3.0e38], [0, 128, 255]),
    ],
)
def test_float_tiff(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert pixels(encoded(image, "TIFF"))[0, :, 0].tolist() == expected


def test_a_mode_without_conversion_says_so() -> None:
    data = encoded(Image.new("LAB", (4, 4)), "TIFF")
    for read in (decode_image, check_image):
        with pytest.raises(ImageError, match="LAB is not supported; save it as RGB"):
            read(data)
