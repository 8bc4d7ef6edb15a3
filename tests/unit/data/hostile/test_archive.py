from __future__ import annotations

import io
import lzma
import stat
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from dataset_files import jpeg, only, patched, refused, two_classes, write_zip

from dspt.data import load_dataset
from dspt.data.hostile.unpack import METHODS, XZ, ZSTD

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HUNGRY: dict[int, Callable[[bytes], bytes]] = {
    XZ: lambda data: lzma.compress(
        data, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 256 << 20}]
    ),
    ZSTD: lambda data: streamed(data, {zstd.CompressionParameter.window_log: 27}),
}
"""Packed so that unpacking needs much memory."""
PACK: dict[int, Callable[[bytes], bytes]] = {XZ: lzma.compress, ZSTD: zstd.compress}


def streamed(data: bytes, options: dict[int, int]) -> bytes:
    """Pack without stating the size, so the window is as large as the options say."""
    compressor = zstd.ZstdCompressor(options=options)
    return compressor.compress(data) + compressor.flush()


def write_packed_zip(
    path: Path, files: dict[str, bytes], method: int, packed: dict[str, bytes] | None = None
) -> Path:
    """Write a zip by a method that zipfile does not know. `packed`: other data for some files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            data = (packed or {}).get(name) or PACK[method](content)
            archive.writestr(name, data)
            info = archive.getinfo(name)
            info.compress_type, info.file_size = method, len(content)
            info.CRC = zlib.crc32(content)
    return path


def test_all_methods_and_zip64_members_are_read(tmp_path: Path) -> None:
    digests = set()
    for method in METHODS:
        write = write_packed_zip if method in PACK else write_zip
        with load_dataset(write(tmp_path / f"{method}.zip", two_classes(), method)) as data:
            digests.add(data.sha256)
    with zipfile.ZipFile(tmp_path / "64.zip", "w") as archive:
        for name, content in two_classes().items():
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(content)
    with load_dataset(tmp_path / "64.zip") as data:
        digests.add(data.sha256)
    assert len(digests) == 1


def test_a_zip_written_to_a_pipe_has_its_sizes_behind_the_data(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, chunk: object) -> int:
            self.data += bytes(chunk)  # type: ignore[call-overload]
            return len(bytes(chunk))  # type: ignore[call-overload]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[type-var]
        for name, content in two_classes().items():
            archive.writestr(name, content)
    path = tmp_path / "streamed.zip"
    path.write_bytes(pipe.data)
    with load_dataset(path) as data:
        assert len(data.items) == 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty (0 bytes)"),
        (b"just text", "the file is not a zip; send"),
        (b"Rar!\x1a\x07\x01\0", "not a zip but a RAR archive"),
        (b"\x1f\x8b\x08\0", "not a zip but a gzip archive"),
        (jpeg(1), "not a zip but a JPEG image"),
    ],
)
def test_not_a_zip(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "data.zip"
    path.write_bytes(content)
    problem = only(path)
    assert problem.code == "not_a_zip"
    assert says in problem.message


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_truncated(tmp_path: Path, part: float) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    assert only(path).code == "truncated_zip"


def test_truncated_zip_that_holds_a_zip_is_not_taken_for_the_inner_one(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", two_classes()).read_bytes()
    path = write_zip(tmp_path / "data.zip", {"a/x.zip": inner, "b/1.jpg": jpeg(1)}, 0)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"b/1.jpg") - 30])  # ends with the inner zip
    assert only(path).code == "damaged_zip"


def test_empty_zip(tmp_path: Path) -> None:
    assert only(write_zip(tmp_path / "data.zip", {})).code == "no_classes"


def test_missing_file(tmp_path: Path) -> None:
    assert only(tmp_path / "none.zip").code == "not_found"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../evil.jpg", "`..`"),
        ("cat/../../evil.jpg", "`..`"),
        ("/etc/passwd", "absolute"),
        ("//server/share.jpg", "absolute"),
        ("cat\\1.jpg", "backslash"),
        ("C:/evil.jpg", "drive letter"),
        ("cat/aux.jpg", "reserved name"),
        ("CON/1.jpg", "reserved name"),
        ("cat/com1", "reserved name"),
        ("cat/a\nb.jpg", "control characters"),
        ("cat/\x1b[2J.jpg", "control characters"),
        ("cat/\x7f.jpg", "control characters"),
        ("cat/" + "x" * 1000 + ".jpg", "longer than 1,000"),
        ("cat/" * 32 + "1.jpg", "more than 32 nested folders"),
        ("cat/photo\u202egpj.exe", "change the direction"),
    ],
)
def test_unsafe_names(tmp_path: Path, name: str, says: str) -> None:
    problem = only(write_zip(tmp_path / "data.zip", two_classes() | {name: jpeg(9)}))
    assert problem.code == "unsafe_path"
    assert says in problem.message
    assert problem.where.isprintable()


def test_a_name_with_a_nul_is_not_cut_there(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes() | {"cat/x.jpg#.exe": jpeg(9)})
    problem = only(patched(path, b"cat/x.jpg#.exe", b"cat/x.jpg\0.exe"))
    assert problem.code == "unsafe_path"
    assert problem.where == "cat/x.jpg\\x00.exe"


def test_noise_does_not_hide_an_unsafe_name(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes() | {"__MACOSX/../../x": b""})
    assert only(path).code == "unsafe_path"


def member(name: str, *, mode: int = 0, system: int = 3) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = system
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        (stat.S_IFLNK | 0o777, "symlink"),
        (stat.S_IFIFO, "special_file"),
        (stat.S_IFCHR, "special_file"),
    ],
)
def test_links_and_devices(tmp_path: Path, mode: int, code: str) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member("cat/link.jpg", mode=mode), "/etc/passwd")
    problem = only(path)
    assert (problem.code, problem.where) == (code, "cat/link.jpg")


def test_a_link_that_a_mac_made(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member("cat/link.jpg", mode=stat.S_IFLNK, system=19), "/etc/passwd")
    assert only(path).code == "symlink"


def test_mode_bits_of_other_systems_mean_nothing(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member("cat/x.jpg", mode=stat.S_IFLNK, system=0), jpeg(9))
    with load_dataset(path) as data:
        assert len(data.items) == 5


def test_encrypted(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes())
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 8] |= 1
    path.write_bytes(data)
    problem = only(path)
    assert (problem.code, problem.where) == ("encrypted", "cat/0.jpg")


@pytest.mark.parametrize(
    ("method", "says"),
    [(9, "deflate64"), (99, "method 99")],
)
def test_unsupported_compression(tmp_path: Path, method: int, says: str) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes(), 0)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 10] = method
    path.write_bytes(data)
    problem = refused(path)[0]
    assert (problem.code, problem.where) == ("unsupported_compression", "cat/0.jpg")
    assert says in problem.message


@pytest.mark.parametrize("method", PACK)
def test_what_does_not_unpack_to_its_stated_size_is_left_out(tmp_path: Path, method: int) -> None:
    files = two_classes() | {f"cat/{name}.jpg": jpeg(20 + n) for n, name in enumerate("abcd")}
    pack = PACK[method]
    packed = {
        "cat/a.jpg": pack(files["cat/a.jpg"] + bytes(1 << 20)),
        "cat/b.jpg": pack(files["cat/b.jpg"])[:400],
        "cat/c.jpg": pack(files["cat/d.jpg"]),
        "cat/d.jpg": HUNGRY[method](files["cat/d.jpg"]),
    }
    with load_dataset(write_packed_zip(tmp_path / "data.zip", files, method, packed)) as data:
        assert {rejected.file for rejected in data.rejected} == packed.keys()


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    files = {"../a.jpg": b"", "cat\\b.jpg": b"", "cat/nul.png": b""}
    path = write_zip(tmp_path / "data.zip", two_classes() | files)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member("dog/link", mode=stat.S_IFLNK | 0o777), "x")
    problems = {(p.where, p.code) for p in refused(path)}
    assert problems == {
        ("../a.jpg", "unsafe_path"),
        ("cat\\b.jpg", "unsafe_path"),
        ("cat/nul.png", "unsafe_path"),
        ("dog/link", "symlink"),
    }


def test_many_problems_of_one_kind_are_counted(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", {f"../{i}.jpg": b"" for i in range(250)})
    problems = refused(path)
    assert len(problems) == 4
    assert problems[-1].message.startswith(
        "and 247 more problems of this kind: ../3.jpg, ../4.jpg, "
    )


def test_duplicate_names(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes())
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("cat/1.jpg", jpeg(77))
    problem = only(path)
    assert (problem.code, problem.where) == ("duplicate_name", "cat/1.jpg")


def test_a_name_that_is_a_file_and_a_folder(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "data.zip", two_classes() | {"cat/x": jpeg(8), "cat/x/1.jpg": jpeg(9)}
    )
    problem = only(path)
    assert (problem.code, problem.where) == ("duplicate_name", "cat/x")


def test_names_that_differ_in_case_are_warned_of(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes() | {"cat/1.JPG": jpeg(9)})
    with load_dataset(path) as data:
        assert data.warnings == ("names that differ only in case: cat/1.JPG, cat/1.jpg",)


def test_data_before_the_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes())
    zipped = path.read_bytes()
    path.write_bytes(jpeg(1) + zipped)
    assert only(path).code == "not_a_zip"
    path.write_bytes(b"PK\x03\x04" + bytes(100) + zipped)
    assert only(path).code == "damaged_zip"


def test_a_comment_and_what_follows_do_no_harm(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"made by hand " * 100
    with load_dataset(path) as data:
        assert len(data.items) == 4
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    with load_dataset(path) as data:
        assert len(data.items) == 4


def test_a_false_end_in_the_comment(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"PK\x05\x06" + bytes(18)
    assert refused(path)  # an empty directory: no class, never another reading of the bytes


def test_several_disks(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes())
    data = path.read_bytes()
    end = len(data) - 22
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 1, 0, 3)
    path.write_bytes(data[:end] + locator + data[end:])
    assert only(path).code == "damaged_zip"


def test_names_in_utf8_without_the_flag(tmp_path: Path) -> None:
    # what macOS writes: decomposed UTF-8 and no flag that says UTF-8
    decomposed = "cafe\u0301".encode()
    files = {"xxxxxx/1.jpg": jpeg(1), "dog/1.jpg": jpeg(2)}
    path = patched(write_zip(tmp_path / "data.zip", files), b"xxxxxx", decomposed)
    with load_dataset(path) as data:
        assert data.classes == ("caf\u00e9", "dog")


def test_names_in_code_page_437(tmp_path: Path) -> None:
    files = {"b_r/1.jpg": jpeg(1), "dog/1.jpg": jpeg(2)}
    path = patched(write_zip(tmp_path / "data.zip", files), b"b_r", b"b\x84r")
    with load_dataset(path) as data:
        assert data.classes == ("bär", "dog")


def test_a_name_flagged_utf8_that_is_not(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes() | {"bär/1.jpg": jpeg(8)})
    assert only(patched(path, "bär".encode(), b"b\xff\xffr")).code == "damaged_zip"


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    path = write_zip(tmp_path / "data.zip", two_classes())
    monkeypatch.chdir(tmp_path / "here")
    with load_dataset(path):
        assert sorted(p.name for p in tmp_path.rglob("*")) == ["data.zip", "here"]
