"""Files that would cost far more than their pixels do, and photographs that look a little alike."""

from __future__ import annotations

import struct
import threading
import time
import zlib

import pytest
from dataset_files import encoded, noise, pixels
from PIL import Image

from dspt.data.hostile.structure import (
    MAX_BMP_RUN_BYTES,
    MAX_GIF_BLOCKS,
    MAX_JPEG_EXIF_SEGMENTS,
    MAX_JPEG_PADDING,
    MAX_JPEG_SEGMENTS,
    MAX_PNG_CHUNKS,
)
from dspt.data.hostile.tiff import MAX_TAGS, MAX_VALUES
from dspt.data.images import _PixelSemaphore, check_image, decode_image
from dspt.errors import ImageError

JPEG = encoded(noise(1), "JPEG")
PNG = encoded(noise(1))
GIF = encoded(noise(1).quantize(8), "GIF")
FRAME = GIF.index(b",", 13 + 3 * 8)


def in_jpeg(more: bytes) -> bytes:
    return JPEG[:20] + more + JPEG[20:]  # behind the JFIF segment


def in_png(name: bytes, body: bytes, count: int, *, at: int = 33) -> bytes:
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return PNG[:at] + chunk * count + PNG[at:]


def in_gif(more: bytes) -> bytes:
    return GIF[:FRAME] + more + GIF[FRAME:]


EXIF = b"\xff\xe1\x00\x09Exif\0\0a"

COSTLY = {
    "jpeg comments": in_jpeg(b"\xff\xfe\0\2" * MAX_JPEG_SEGMENTS),
    "jpeg restarts": in_jpeg(b"\xff\xd0" * MAX_JPEG_SEGMENTS),
    "jpeg exif": in_jpeg(EXIF * (MAX_JPEG_EXIF_SEGMENTS + 1)),
    "jpeg fill bytes": in_jpeg(b"\xff" * (MAX_JPEG_PADDING + 1)),
    "jpeg nothing but fill bytes": JPEG[:20] + b"\xff" * (MAX_JPEG_PADDING + 2),
    "jpeg junk": in_jpeg(b"\0" * (MAX_JPEG_PADDING + 1)),
    "jpeg junk without an end": JPEG[:20] + b"\0" * (MAX_JPEG_PADDING + 2),
    "png chunks": in_png(b"aaAa", b"", MAX_PNG_CHUNKS),
    "png chunks behind": in_png(b"aaAa", b"", MAX_PNG_CHUNKS, at=len(PNG) - 12),
    "png data": in_png(b"IDAT", b"", MAX_PNG_CHUNKS),
    "gif comment": in_gif(b"!\xfe" + b"\1a" * MAX_GIF_BLOCKS + b"\0"),
    "gif comments": in_gif(b"!\xfe\0" * MAX_GIF_BLOCKS),
    "gif loop": in_gif(b"!\xff\x0bNETSCAPE2.0\0" + b"\1a" * MAX_GIF_BLOCKS + b"\0"),
    "gif hidden behind an empty block": in_gif(b"!\xf9\0" + b"\1," * MAX_GIF_BLOCKS + b"\0"),
    "gif junk": in_gif(b"\0" * (MAX_GIF_BLOCKS + 1)),
}


@pytest.mark.parametrize("kind", COSTLY)
def test_costly_files_are_refused(kind: str) -> None:
    for read in (check_image, decode_image):
        with pytest.raises(
            ImageError, match=r"a (JPEG|PNG|GIF) with too many .*, like a decompression bomb"
        ):
            read(COSTLY[kind])


@pytest.mark.parametrize(
    "data",
    [
        in_jpeg(b"\xff\xfe\0\2" * 300),
        in_jpeg(EXIF * 2),
        in_jpeg(b"\xff" * 1000),
        in_png(b"tEXt", b"a\0b", 1000),
        in_png(b"aaAa", b"x" * 3000, 1000),
        in_gif(b"!\xfe" + b"\xff" + b"a" * 255 + b"\0"),
        in_gif(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"),
        in_gif(b"!\xf9\x04\0\0\0\0\0\0"),
    ],
    ids=lambda data: data[20:40].hex(),
)
def test_busy_files_are_not(data: bytes) -> None:
    assert pixels(data).shape == (16, 24, 3)


@pytest.mark.parametrize("part", [JPEG, PNG, GIF], ids=["jpeg", "png", "gif"])
def test_what_is_cut_anywhere_is_left_to_pillow(part: bytes) -> None:
    for length in range(1, len(part) - 40, 7):
        with pytest.raises(ImageError) as caught:
            check_image(part[:length])
        assert "bomb" not in caught.value.message


# -------------------------------------------------------------------------------------------- BMP


def packed_bmp(width: int, height: int, runs: bytes, kind: int = 1) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, kind, len(runs), 0, 0, 256, 0)
    start = 54 + 1024
    head = b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start)
    return head + header + bytes(1024) + runs


def test_a_small_bmp_packed_by_runs() -> None:
    assert pixels(packed_bmp(24, 16, (b"\x18\5" + b"\0\0") * 16)).shape == (16, 24, 3)


@pytest.mark.parametrize(
    "data",
    [
        packed_bmp(3000, 3000, b"\0\1"),
        packed_bmp(3000, -3000, b"\0\1"),
        packed_bmp(24, 16, b"\0\2\0\0" * (MAX_BMP_RUN_BYTES // 4)),
        packed_bmp(3000, 3000, b"\0\1", kind=2),
    ],
)
def test_a_large_bmp_packed_by_runs_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"run-length encoded .* save it uncompressed, or as PNG"):
        check_image(data)


# ------------------------------------------------------------------------------------------- TIFF

Tag = tuple[int, int, int, int]
GREY: dict[int, Tag] = {
    number: (number, 3, 1, value)
    for number, value in zip(
        (256, 257, 258, 259, 262, 273, 277, 278, 279), (24, 16, 8, 1, 1, 8, 1, 16, 384), strict=True
    )
}


def tiff(*changes: Tag, order: str = "<", body: bytes = bytes(4000)) -> bytes:
    tags = GREY | {tag[0]: tag for tag in changes}
    packed = b"".join(
        struct.pack(order + "HHI", *tag[:3])
        + struct.pack(order + ("I" if tag[1] != 3 else "Hxx"), tag[3])
        for _, tag in sorted(tags.items())
    )
    start = b"II*\0" if order == "<" else b"MM\0*"
    head = start + struct.pack(order + "I", 8) + struct.pack(order + "H", len(tags))
    return head + packed + bytes(4) + body


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_plain_tiff(order: str) -> None:
    assert pixels(tiff(order=order)).shape == (16, 24, 3)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ((273, 4, MAX_VALUES + 1, 200), "too many values"),
        ((282, 5, MAX_VALUES + 1, 200), "too many values"),
        ((700, 1, 5000, 0), "declare more data than the file has"),
        ((34853, 3, 1, 1000), None),
        ((259, 3, 1, 34712), "unsupported compression"),
        ((259, 3, 1, 50001), "unsupported compression"),
        ((259, 16, 1, 8), "damaged"),
        ((322, 1, 1, 8), "damaged"),
        ((256, 4, 2, 8), "damaged"),
    ],
)
def test_tags_of_a_tiff(change: Tag, says: str | None, order: str) -> None:
    data = tiff(change, order=order)
    if says is None:
        assert pixels(data).shape == (16, 24, 3)
        return
    for read in (check_image, decode_image):
        with pytest.raises(ImageError, match=says):
            read(data)


def test_a_tile_larger_than_its_image() -> None:
    usual = tiff((322, 4, 1, 256), (323, 4, 1, 256), (324, 4, 1, 8), (325, 4, 1, 9), (259, 3, 1, 8))
    with pytest.raises(ImageError, match="damaged"):  # its data are: none
        check_image(usual)
    with pytest.raises(ImageError, match="tiles far larger than the image"):
        check_image(tiff((322, 4, 1, 30_000), (323, 4, 1, 30_000), (324, 4, 1, 8), (325, 4, 1, 9)))


def test_a_directory_within_the_first_is_looked_at_too() -> None:
    at = len(tiff((34665, 4, 1, 0), body=b""))
    inner = struct.pack("<HHHII", 1, 282, 5, MAX_VALUES + 1, 0)
    with pytest.raises(ImageError, match="too many values"):
        check_image(tiff((34665, 4, 1, at), body=inner + bytes(4000)))


def test_a_tiff_of_too_many_tags() -> None:
    more: list[Tag] = [(40_000 + i, 3, 1, 0) for i in range(MAX_TAGS)]
    with pytest.raises(ImageError, match="too many tags"):
        check_image(tiff(*more))


@pytest.mark.parametrize("start", [b"II+\0", b"MM\0+", b"II\0*", b"MM*\0"])
def test_unusual_kinds_of_tiff(start: bytes) -> None:
    with pytest.raises(ImageError, match="save it as an ordinary TIFF"):
        check_image(start + bytes(100))


def test_what_pillow_writes_is_read() -> None:
    for mode in ("1", "L", "RGB", "RGBA", "CMYK", "I;16", "F"):
        image = Image.new(mode, (300, 200))
        for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
            assert pixels(encoded(image, "TIFF", compression=compression)).shape == (200, 300, 3)


# ----------------------------------------------------------------------------------------- memory


def test_decoding_waits_for_other_images() -> None:
    semaphore, order, inside = _PixelSemaphore(10), [], threading.Event()

    def large() -> None:
        with semaphore.acquired(1000):  # more than the limit: it is decoded alone
            order.append("large")

    with semaphore.acquired(6), semaphore.acquired(4):
        thread = threading.Thread(target=large)
        thread.start()
        thread.join(0.05)
        order.append("small")
        inside.set()
    thread.join()
    assert order == ["small", "large"]
    with semaphore.acquired(10):
        pass


def test_endless_exif_is_not_read() -> None:
    count = 200_000
    head = b"II*\0" + struct.pack("<IH", 8, 1)
    exif = head + struct.pack("<HHII", 0x0112, 5, count, 26) + bytes(4 + 8 * count)
    start = time.process_time()
    assert pixels(in_png(b"eXIf", exif, 1)).shape == (16, 24, 3)
    assert time.process_time() - start < 1
