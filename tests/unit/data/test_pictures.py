"""Photos from phones and cameras: HEIC, AVIF, few bits of many, very large; and doubtful ones."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from dataset_files import encoded, jpeg, noise, pixels, png_chunks, two_classes, write_folder
from PIL import Image, ImageFilter

from dspt.cli.answers import image_files
from dspt.data import decode_image, load_dataset
from dspt.data.images import MAX_REDUCED, MAX_REDUCED_PROGRESSIVE, check_image
from dspt.errors import ConfigError, ImageError

HEIC = Path(__file__).with_name("cutout.heic").read_bytes()
"""64 x 48 pixels: a gradient that is opaque in [8:40, 8:56] and transparent around it."""


def test_heic_with_transparency_on_white() -> None:
    image = pixels(HEIC)
    assert image.shape == (48, 64, 3)
    assert image[2, 2].tolist() == [255, 255, 255]
    assert np.abs(image[30, 30].astype(int) - [120, 150, 165]).max() < 10


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_truncated_heic_is_damaged(part: float) -> None:
    for read in (decode_image, check_image):
        with pytest.raises(ImageError, match="damaged"):
            read(HEIC[: int(len(HEIC) * part)])


def test_the_pixel_limit_holds_for_heic_and_avif() -> None:
    for data in (HEIC, encoded(noise(1, (64, 48)), "AVIF")):
        assert decode_image(data, max_pixels=64 * 48).size == (64, 48)
        for read in (decode_image, check_image):
            with pytest.raises(ImageError, match="64 x 48 pixels"):
                read(data, max_pixels=64 * 48 - 1)


def test_avif() -> None:
    image = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    image.paste((200, 30, 30, 255), (10, 10, 30, 20))
    found = pixels(encoded(image, "AVIF", quality=100))
    assert found[2, 2].tolist() == [255, 255, 255]
    assert np.abs(found[15, 20].astype(int) - [200, 30, 30]).max() < 6


def deep(bits: int, kind: str = "PNG") -> bytes:
    """A ramp in 16-bit samples, of which `bits` are used."""
    ramp = np.linspace(0, 2**bits - 1, 64 * 64).astype(np.uint16).reshape(64, 64)
    return encoded(Image.fromarray(ramp), kind)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_samples_are_scaled_by_the_bits_that_they_use(bits: int, kind: str) -> None:
    grey = pixels(deep(bits, kind))[..., 0]
    expected = np.linspace(0, 255, 64 * 64).reshape(64, 64)
    assert np.abs(grey - expected).max() <= 1
    assert (f"{bits} bits" in check_image(deep(bits, kind))) == (bits < 16)


def deep_png(samples: np.ndarray, stated: int | None = None) -> bytes:
    """A PNG with 16-bit samples (H, W) or (H, W, 3 or 4); `stated` is written as sBIT."""
    high, wide, *channels = samples.shape
    colour = {(): 0, (3,): 2, (4,): 6}[tuple(channels)]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    data = png_chunks(wide, high, depth=16, colour=colour, body=zlib.compress(rows))
    if stated is None:
        return data
    chunk = b"sBIT" + bytes([stated]) * sum(channels or [1])
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[:33] + chunk + data[33:]  # after the signature and IHDR


def ramp(bits: int) -> np.ndarray:
    return np.linspace(1, 2**bits - 1, 64 * 64).astype(np.uint16).reshape(64, 64)


def test_a_dark_photo_is_scaled_by_the_bits_that_a_png_states() -> None:
    dark = ramp(9)  # of 12 bits
    assert pixels(deep_png(dark))[..., 0].max() == round(511 / 1023 * 255)  # a guess: 10 bits
    assert pixels(deep_png(dark, stated=12))[..., 0].max() == round(511 / 4095 * 255)
    assert "12 bits" in check_image(deep_png(dark, stated=12))


def test_samples_in_the_upper_bits_are_scaled_from_16() -> None:
    upper = ramp(9) << 4  # 12 bits as the PNG standard stores them
    assert pixels(deep_png(upper, stated=12))[..., 0].max() == round(511 * 16 / 65535 * 255)
    assert not [remark for remark in check_image(deep_png(upper, stated=12)) if "bits" in remark]


@pytest.mark.parametrize("kind", ["PNG", "little TIFF", "big TIFF", "deflated TIFF"])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_colours_are_scaled_by_the_bits_that_they_use(kind: str, bits: int) -> None:
    samples = np.stack([ramp(bits), ramp(bits).T, ramp(bits)[::-1]], axis=2)
    data = deep_png(samples) if kind == "PNG" else deep_tiff(samples, kind)
    expected = np.floor(samples / 256) if bits == 16 else samples / (2**bits - 1) * 255
    assert np.abs(pixels(data) - expected).max() <= 0.5
    assert (f"{bits} bits" in check_image(data)) == (bits < 16)


def deep_tiff(samples: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        samples,
        photometric="rgb",
        byteorder=">" if kind.startswith("big") else "<",
        compression="zlib" if kind.startswith("deflated") else None,
    )
    return buffer.getvalue()


def test_deep_transparency_is_scaled_too() -> None:
    samples = np.full((4, 4, 4), 4095, np.uint16)
    samples[..., 1] = 0
    samples[2:, :, 3] = 0
    found = pixels(deep_png(samples, stated=12))
    assert found[0, 0].tolist() == [255, 0, 255]
    assert found[3, 3].tolist() == [255, 255, 255]


def test_scaled_samples_are_reported_once(tmp_path: Path) -> None:
    files = two_classes(1) | {f"cat/{i}.png": deep(10)[:-1] + bytes([i]) for i in range(5)}
    files = {name: d + b"x" if name.endswith("png") else d for name, d in files.items()}
    with load_dataset(write_folder(tmp_path, files)) as data:
        found = [w for w in data.warnings if "bits per sample" in w]
    assert found == [
        "5 images: only 10 of the 16 bits per sample are used, and scaled as such: cat/0.png, "
        "cat/1.png, cat/2.png and 2 more"
    ]


def test_photos_of_different_depth_are_warned_of(tmp_path: Path) -> None:
    files = two_classes(1) | {"cat/a.png": deep(10), "dog/b.png": deep(12)}
    with load_dataset(write_folder(tmp_path, files)) as data:
        assert any("some photos use 10 bits and some 12 bits" in w for w in data.warnings)


def test_a_jpeg_beyond_the_pixel_limit_is_decoded_smaller() -> None:
    large = Image.effect_noise((640, 480), 5).convert("RGB")
    large.paste((200, 0, 0), (0, 0, 320, 480))
    data = encoded(large, "JPEG")
    found = decode_image(data, max_pixels=100_000)
    assert found.size == (320, 240)
    assert np.abs(np.asarray(found)[120, 80].astype(int) - [200, 0, 0]).max() < 10
    check_image(data, max_pixels=100_000)
    assert decode_image(encoded(large, "JPEG", exif=turned()), max_pixels=100_000).size == (
        240,
        320,
    )
    for read in (decode_image, check_image):
        with pytest.raises(ImageError, match="640 x 480 pixels"):
            read(data, max_pixels=640 * 480 // MAX_REDUCED - 1)
        with pytest.raises(ImageError, match="640 x 480 pixels"):
            read(encoded(large), max_pixels=100_000)


def test_less_is_allowed_for_a_progressive_jpeg() -> None:
    data = encoded(noise(1, (200, 100)), "JPEG", progressive=True)
    assert decode_image(data, max_pixels=20_000 // MAX_REDUCED_PROGRESSIVE).size == (100, 50)
    with pytest.raises(ImageError, match="200 x 100 pixels"):
        decode_image(data, max_pixels=20_000 // MAX_REDUCED_PROGRESSIVE - 1)


def test_a_jpeg_beyond_the_limit_of_pillow() -> None:
    image = Image.new("L", (15_000, 12_500), 90)  # 187 megapixels
    found = decode_image(encoded(image, "JPEG", quality=50))
    assert found.size == (7500, 6250)
    assert found.getpixel((7000, 6000)) == (90, 90, 90)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def test_flaws() -> None:
    photo = Image.effect_noise((400, 400), 60).convert("RGB").filter(ImageFilter.GaussianBlur(2))
    soft = Image.radial_gradient("L").resize((400, 300)).convert("RGB")
    for kind in ("JPEG", "PNG"):
        assert check_image(encoded(photo, kind)) == ()
        assert check_image(encoded(photo.resize((15, 40)), kind)) == ("tiny",)
        assert check_image(encoded(Image.new("RGB", (300, 300), (90, 0, 0)), kind)) == (
            "of a single colour",
        )
        assert check_image(encoded(photo.point(lambda v: v // 12), kind)) == ("very dark",)
        assert check_image(encoded(soft, kind)) == ("blurred",)


def test_flaws_are_reported_with_examples(tmp_path: Path) -> None:
    blank = {f"cat/blank{i}.png": encoded(Image.new("RGB", (90, 90 + i))) for i in range(4)}
    with load_dataset(write_folder(tmp_path, two_classes() | blank)) as data:
        assert len(data.items) == 8
        assert (
            "4 images: of a single colour; look at them, such photos may be mistakes: "
            "cat/blank0.png, cat/blank1.png, cat/blank2.png and 1 more"
        ) in data.warnings


def test_predict_finds_images_by_their_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    buffer = io.BytesIO()
    noise(3).save(buffer, "PNG")
    files = {
        "a.JPG": jpeg(1),
        "b.jfif": jpeg(2),
        "sub/none": buffer.getvalue(),
        "c.HEIC": HEIC,
        "d.dat": encoded(noise(4), "AVIF"),
        "e.jpg": b"not an image, but called one",
        "notes.txt": b"hello",
        "film.mp4": b"\0\0\0\x18ftypisom",
        ".DS_Store": b"x",
    }
    folder = write_folder(tmp_path / "photos", files)
    found = [file.relative_to(folder).as_posix() for file in image_files([folder])]
    assert found == ["a.JPG", "b.jfif", "c.HEIC", "d.dat", "e.jpg", "sub/none"]
    assert "left out film.mp4, notes.txt (not images)" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no images in this folder"):
        image_files([write_folder(tmp_path / "none", {"notes.txt": b"x"})])
