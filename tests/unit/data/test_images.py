from __future__ import annotations

import io
import struct
import threading
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import encoded, noise, pixels, png_chunks
from PIL import Image

from dspt.data import decode_image, images
from dspt.data.formats import KNOWN, recognise
from dspt.data.images import as_jpeg, check_image
from dspt.errors import ImageError


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_lossless_formats_give_back_the_exact_pixels(kind: str) -> None:
    image = noise(1)
    options = {"lossless": True} if kind == "WEBP" else {}
    if kind == "GIF":  # 256 colours at most: few pixels
        image = noise(1, (12, 10))
    np.testing.assert_array_equal(pixels(encoded(image, kind, **options)), np.asarray(image))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff(compression: str) -> None:
    image = noise(2)
    data = encoded(image, "TIFF", compression=compression)
    np.testing.assert_array_equal(pixels(data), np.asarray(image))


def test_jpeg_decodes_as_pillow_does() -> None:
    data = encoded(noise(3), "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(pixels(data), expected)


def test_first_frame_of_an_animation_and_first_page_of_a_tiff() -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "lime", "blue")]
    for kind in ("GIF", "TIFF", "WEBP", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert (pixels(data) == (255, 0, 0)).all(), kind


CORNERS = np.array(
    [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]], [[50, 60, 70], [1, 2, 3]]]
)
UPRIGHT = {
    1: CORNERS,
    2: CORNERS[:, ::-1],
    3: CORNERS[::-1, ::-1],
    4: CORNERS[::-1],
    5: CORNERS.transpose(1, 0, 2),
    6: np.rot90(CORNERS, -1),
    7: np.rot90(CORNERS, 2).transpose(1, 0, 2),
    8: np.rot90(CORNERS, 1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(CORNERS.astype(np.uint8))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(image, kind, exif=exif, **options)
    np.testing.assert_array_equal(pixels(data), UPRIGHT[orientation])


def test_exif_orientation_of_a_jpeg() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (32, 16), "black")
    image.paste("white", (0, 0, 16, 16))  # left half, which a quarter turn puts on top
    result = pixels(encoded(image, "JPEG", exif=exif, quality=95))
    assert result.shape == (32, 16, 3)
    assert result[4].min() > 240
    assert result[28].max() < 15


def blotches() -> Image.Image:
    return noise(1, (6, 4)).resize((604, 400), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("side", "size"),
    [
        (None, (604, 400)),
        (201, (604, 400)),
        (200, (302, 200)),
        (100, (151, 100)),
        (50, (76, 50)),
        (10, (76, 50)),
    ],
)
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_reduced_to_no_less_than_the_side(
    side: int | None, size: tuple[int, int], progressive: bool
) -> None:
    image = blotches()
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind, upright in ((None, size), (exif, size[::-1])):
        extra = {} if kind is None else {"exif": kind}
        data = encoded(image, "JPEG", quality=90, progressive=progressive, **extra)
        found = decode_image(data, side=side)
        assert found.size == upright
        # As Pillow scales the whole image.
        whole = decode_image(data).resize(found.size, Image.Resampling.BOX)
        assert np.abs(np.asarray(found, float) - np.asarray(whole, float)).mean() < 3
    assert decode_image(encoded(image, "PNG"), side=side).size == (604, 400)


def test_a_jpeg_over_the_limit_is_reduced_further_if_the_side_allows() -> None:
    data = encoded(blotches(), "JPEG")
    limit = 130_000
    assert decode_image(data, max_pixels=limit).size == (302, 200)
    assert decode_image(data, max_pixels=limit, side=80).size == (151, 100)
    assert decode_image(data, max_pixels=limit, side=360).size == (302, 200)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"]
)
def test_damaged_exif_spoils_nothing(exif: bytes) -> None:
    assert pixels(encoded(noise(5), "JPEG", exif=exif)).shape == (16, 24, 3)


def test_the_extension_is_not_asked_and_the_content_is() -> None:
    assert recognise(encoded(noise(1))) == "a PNG image"
    assert recognise(encoded(noise(1), "WEBP")) == "a WebP image"
    assert recognise(b"nothing known") is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"hello, I am text", "not an image"),
        (b"\0" * 4096, "not an image"),
        (b"PK\x03\x04" + b"\0" * 40, "an archive inside the data set; unpack it before zipping"),
        (b"Rar!\x1a\x07\x01\x00", "an archive inside the data set; unpack it before zipping"),
        (b"%PDF-1.7", f"a PDF document, not a {KNOWN} image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "starts like a HEIC photo but is damaged"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "starts like an AVIF image but is damaged"),
        (b"\0\0\0\x14ftypisom\0\0\0\0mp41", f"a video, not a {KNOWN} image"),
        (b"<svg xmlns='x'/>", f"an SVG drawing, not a {KNOWN} image"),
        (b"<!DOCTYPE html><p>", f"a web page, not a {KNOWN} image"),
        (b"\xff\xd8\xff\xe0", "starts like a JPEG image but is damaged"),
        (b"\x89PNG\r\n\x1a\n", "starts like a PNG image but is damaged"),
        (b"GIF89a", "starts like a GIF image but is damaged"),
    ],
)
def test_what_is_no_image_gets_a_plain_reason(data: bytes, reason: str) -> None:
    for read in (decode_image, check_image):
        with pytest.raises(ImageError) as caught:
            read(data)
        assert caught.value.message == reason


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "PCX", "JPEG2000"])
def test_formats_off_the_list_are_refused(kind: str) -> None:
    with pytest.raises(ImageError):
        decode_image(encoded(noise(1, (16, 16)), kind))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_truncated_images(kind: str, part: float) -> None:
    data = encoded(noise(6, (64, 64)), kind)
    for read in (decode_image, check_image):
        with pytest.raises(ImageError, match=r"truncated|damaged"):
            read(data[: int(len(data) * part)])


def test_a_truncated_jpeg_is_reported_as_such() -> None:
    data = encoded(noise(6, (64, 64)), "JPEG")
    with pytest.raises(ImageError) as caught:
        check_image(data[: len(data) // 2])
    assert caught.value.message == "the image is truncated: part of it is missing"
    assert caught.value.code == "unreadable_image"


def bmp_header(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def gif_header(width: int, height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\0;"


def webp_header(width: int, height: int) -> bytes:
    body = b"VP8X" + struct.pack("<IB3x", 10, 0)
    body += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize("make", [png_chunks, bmp_header, gif_header, webp_header])
@pytest.mark.parametrize("side", [8_500, 12_000, 16_000, 60_000])  # below and above Pillow's limits
def test_the_pixel_limit_is_checked_on_the_header_alone(make: object, side: int) -> None:
    data = make(side, side)  # type: ignore[operator]
    for read in (decode_image, check_image):
        tracemalloc.start()
        with pytest.raises(ImageError) as caught:
            read(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        if make is not webp_header:  # nothing but a header: libwebp finds it damaged
            assert "pixels" in caught.value.message
            assert "limit 64,000,000" in caught.value.message
        assert peak < 2_000_000


def test_the_pixel_limit_is_exact() -> None:
    data = encoded(Image.new("RGB", (100, 50)))
    assert decode_image(data, max_pixels=5000).size == (100, 50)
    with pytest.raises(ImageError, match=r"100 x 50 pixels \(limit 4,999 pixels\)"):
        decode_image(data, max_pixels=4999)


def test_endless_strips_are_refused() -> None:
    assert decode_image(encoded(Image.new("L", (100, 1)))).size == (100, 1)
    with pytest.raises(ImageError, match="1 x 101 pixels is too narrow"):
        decode_image(encoded(Image.new("L", (1, 101))))


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    data = encoded(noise(1, (64, 64)), "JPEG", progressive=True)
    assert pixels(data).shape == (64, 64, 3)
    # a scan of one component's last coefficients in which every block is empty: a long run of EOB
    scan = bytes.fromhex("ffda0008010100 3f3f 10 00".replace(" ", ""))
    with pytest.raises(ImageError, match="too many scans"):
        check_image(data[:-2] + scan * 300 + data[-2:])


def test_a_large_image_decodes_within_the_limit() -> None:
    data = encoded(Image.new("L", (5000, 4000), 7))
    assert decode_image(data).getpixel((4999, 3999)) == (7, 7, 7)


def test_a_jpeg_is_decoded_no_larger_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    for name in ("to_rgb", "flaws_of"):
        whole = getattr(images, name)

        def watched(image: Image.Image, *rest: Any, whole: Callable[..., Any] = whole) -> Any:
            decoded.append(image.size)
            return whole(image, *rest)

        monkeypatch.setattr(images, name, watched)
    data = encoded(noise(1, (1600, 1200)), "JPEG")
    for side, size in ((192, (192, 144)), (1280, (1280, 960)), (None, (1600, 1200))):
        with Image.open(io.BytesIO(as_jpeg(data, side))) as shown:
            assert shown.size == size
    check_image(data)
    assert decoded == [(400, 300), (1600, 1200), (1600, 1200), (400, 300)]


def test_warnings_of_the_decoder_neither_leak_nor_spoil() -> None:
    palette = Image.new("P", (2, 2))
    palette.putpalette([1, 2, 3])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pixels(encoded(palette, transparency=b"\x10"))
        pixels(encoded(noise(1), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"))
        with pytest.raises(ImageError):
            decode_image(png_chunks(10_000, 10_000))
        with pytest.raises(ImageError):
            decode_image(encoded(noise(1), "TIFF")[:200])
    assert caught == []


def test_filters_are_as_before_when_many_threads_have_decoded() -> None:
    before = list(warnings.filters)
    data = encoded(noise(1), "PNG")

    def work() -> None:
        for _ in range(50):
            decode_image(data)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="ours"):
        warnings.warn("ours", stacklevel=1)


def test_image_open_of_a_path_is_never_used(tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        decode_image(str(tmp_path).encode())
