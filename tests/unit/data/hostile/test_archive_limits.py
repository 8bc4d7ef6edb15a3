from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from dataset_files import Files, encoded, jpeg, only, patched, refused, two_classes, write_zip
from PIL import Image

from dspt.data import Limits, load_dataset, reading


def test_too_many_files(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes(3))
    with load_dataset(path, limits=Limits(max_files=6)) as data:
        assert len(data.items) == 6
    problem = only(path, Limits(max_files=5))
    assert (problem.code, problem.message) == ("too_many_files", "the zip has more than 5 files")


def test_a_huge_directory_is_not_even_parsed(tmp_path: Path) -> None:
    directory = (b"PK\x01\x02" + bytes(42)) * 300_000  # no names, no contents
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, len(directory), 30, 0)
    path = tmp_path / "data.zip"
    path.write_bytes(b"PK\x03\x04" + bytes(26) + directory + end)
    tracemalloc.start()
    problem = only(path, Limits(max_files=100_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert problem.code == "too_many_files"
    assert peak < 2 * len(directory)


def test_a_directory_that_claims_to_be_longer_than_the_file(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes())
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, len(data) - 10, 0xFFFFFF00)
    path.write_bytes(data)
    assert only(path).code == "damaged_zip"


def test_too_many_classes(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes() | {"bus/1.jpg": jpeg(9)})
    problem = only(path, Limits(max_classes=2))
    assert (problem.code, problem.message) == (
        "too_many_classes",
        "3 classes (limit 2)",
    )


def test_too_many_pixels_in_few_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.zip"
    white = encoded(Image.new("1", (4000, 4000)))  # two kilobytes
    write_zip(path, two_classes() | {f"cat/{i}.png": white for i in range(3)})
    with load_dataset(path) as data:  # below what matters
        assert len(data.items) == 7
    monkeypatch.setattr(reading, "_PIXELS_MATTER", 40_000_000)
    assert only(path).code == "suspicious_ratio"
    with load_dataset(path, limits=Limits(max_pixels_per_byte=50e6 / path.stat().st_size)) as data:
        assert len(data.items) == 7


def test_a_stream_that_unpacks_to_nothing_is_not_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes() | {"cat/x.jpg": os.urandom(50_000)})
    with load_dataset(declared(path, "cat/x.jpg", 10), limits=Limits(max_file_bytes=40_000)) as d:
        (rejected,) = d.rejected
    assert rejected.reason == "file too large (limit 40,000 bytes)"


def test_too_large_unpacked(tmp_path: Path) -> None:
    files = two_classes()
    total = sum(map(len, files.values()))
    path = write_zip(tmp_path / "data.zip", files)
    with load_dataset(path, limits=Limits(max_total_bytes=total)) as data:
        assert len(data.items) == 4
    problem = only(path, Limits(max_total_bytes=total - 1))
    assert problem.code == "too_large"
    assert f"{total:,} bytes" in problem.message


def test_a_file_that_is_too_large_is_rejected_unread(tmp_path: Path) -> None:
    files = two_classes() | {"cat/big.jpg": bytes(os.urandom(50_000))}
    with load_dataset(
        write_zip(tmp_path / "d.zip", files), limits=Limits(max_file_bytes=40_000)
    ) as data:
        (rejected,) = data.rejected
    assert rejected.file == "cat/big.jpg"
    assert rejected.reason == "file too large (limit 40,000 bytes)"


def test_a_bomb_among_the_images_is_rejected_without_unpacking(tmp_path: Path) -> None:
    files = two_classes() | {"cat/bomb.bmp": bytes(30_000_000)}
    path = write_zip(tmp_path / "data.zip", files)
    with zipfile.ZipFile(path, "a") as archive:  # so that the zip as a whole is not suspicious
        archive.writestr("cat/pad.jpg", os.urandom(400_000))
    Image.init()  # imports the readers of all formats, which take as much
    tracemalloc.start()
    with load_dataset(path) as data:
        reasons = {r.file: r.reason for r in data.rejected}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "times its size, like a zip bomb" in reasons["cat/bomb.bmp"]
    assert peak < 5_000_000


def test_a_zip_that_unpacks_to_far_more_than_itself(tmp_path: Path) -> None:
    files = two_classes() | {f"cat/{i}.bin": bytes(5_000_000) for i in range(4)}
    assert only(write_zip(tmp_path / "data.zip", files)).code == "suspicious_ratio"


def declared(path: Path, name: str, size: int) -> Path:
    """Make the zip say that a member unpacks to `size` bytes."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        local = archive.getinfo(name).header_offset
    entry = data.index(name.encode(), data.index(b"PK\x01\x02")) - 46
    struct.pack_into("<L", data, entry + 24, size)
    struct.pack_into("<L", data, local + 22, size)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [0, 10, 1_000_000])
def test_a_size_in_the_header_is_not_believed(tmp_path: Path, size: int) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes() | {"cat/big.bmp": bytes(20_000_000)})
    tracemalloc.start()
    with load_dataset(declared(path, "cat/big.bmp", size)) as data:
        (rejected,) = data.rejected
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rejected.file == "cat/big.bmp"
    assert rejected.reason in ("damaged inside the zip", "the file is empty (0 bytes)")
    assert peak < 4_000_000


def test_damaged_contents_are_rejected_by_file(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes(), zipfile.ZIP_STORED)
    start = path.read_bytes().index(b"cat/1.jpg") + 300
    data = bytearray(path.read_bytes())
    data[start] ^= 0xFF
    path.write_bytes(data)
    with load_dataset(path) as data_set:
        (rejected,) = data_set.rejected
    assert (rejected.file, rejected.reason) == ("cat/1.jpg", "damaged inside the zip")


def test_a_local_header_that_names_another_file(tmp_path: Path) -> None:
    path = patched(write_zip(tmp_path / "data.zip", two_classes()), b"cat/1.jpg", b"cat/7.jpg", 1)
    with load_dataset(path) as data:
        assert [(r.file, r.reason) for r in data.rejected] == [
            ("cat/1.jpg", "damaged inside the zip")
        ]


def overlapping(files: Files) -> bytes:
    """Every entry of the directory points at the same bytes, as in a zip bomb."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        first = archive.infolist()[0].header_offset
        for info in archive.infolist():
            info.header_offset = first
    return buffer.getvalue()


def test_overlapping_entries(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    path.write_bytes(overlapping(two_classes()))
    problems = refused(path)
    assert {p.code for p in problems} == {"overlapping_entries"}
    assert len(problems) == 3


def test_nested_archives_are_rejected_and_warned_of(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", two_classes()).read_bytes()
    path = write_zip(tmp_path / "data.zip", two_classes() | {"cat/more.zip": inner})
    with load_dataset(path) as data:
        (rejected,) = data.rejected
        assert rejected.file == "cat/more.zip"
        assert rejected.reason == "an archive inside the data set; unpack it before zipping"
        assert data.warnings == (f"cat/more.zip: {rejected.reason}",)


def test_a_zip_of_zips_says_so(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", two_classes()).read_bytes()
    problem = only(write_zip(tmp_path / "data.zip", {"train.zip": inner, "test.zip": inner}))
    assert problem.code == "no_classes"
    assert "contains archives (test.zip)" in problem.message
