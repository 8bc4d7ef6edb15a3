"""Names in zips from Windows: code pages, the Unicode Path field and separators."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from dataset_files import jpeg, only, two_classes, write_zip

from dspt.data import load_dataset
from dspt.data.hostile.code_pages import detect_code_pages


class RawName(zipfile.ZipInfo):
    """A member whose name is written in a code page, without the flag for UTF-8."""

    __slots__ = ("raw",)

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.raw, self.flag_bits & ~0x800


def zip_of(path: Path, names: dict[str, bytes], *, field: bool = False, system: int = 0) -> Path:
    """A zip with members of these names, given as their bytes; `field` adds 0x7075."""
    with zipfile.ZipFile(path, "w") as archive:
        for i, (name, raw) in enumerate(names.items()):
            info = RawName(f"x{i}")
            info.raw, info.create_system = raw, system
            if field:
                content = b"\x01" + struct.pack("<L", zlib.crc32(raw)) + name.encode()
                info.extra = struct.pack("<HH", 0x7075, len(content)) + content
            archive.writestr(info, jpeg(i))
    return path


WINDOWS = [
    ("cp932", "飛行機 盆栽 蝶"),
    ("cp932", "ソファ 表 能面"),
    ("cp932", "犬 猫"),
    ("cp932", "東京タワー 富士山 Tシャツ"),
    ("gbk", "飞机 盆景 蝴蝶"),
    ("gbk", "苹果 香蕉 橙子"),
    ("gbk", "合格 不合格"),
    ("big5", "飛機 盆栽 蝴蝶"),
    ("big5", "襯衫 褲子 鞋子"),
    ("cp949", "비행기 분재 나비"),
    ("cp949", "정상 불량"),
    ("cp949", "토끼 딸기 꽃"),
    ("cp866", "самолёт бонсай бабочка"),
    ("cp866", "Кошка Собака"),
    ("cp1251", "самолёт бонсай бабочка"),
    ("cp850", "Bäumchen Flugzeug Größe"),
    ("cp850", "Bøtte Sko Kåbe"),
    ("cp850", "niño pájaro mañana"),
    ("cp850", "coração maçã limão"),
    ("cp437", "Bäumchen Hüte"),
    ("cp1252", "Bäumchen Bøtte Éléphant"),
    ("cp1252", "garçon mère forêt"),
    ("cp852", "łóżko krzesło stół"),
    ("cp1253", "γάτα σκύλος"),
]


@pytest.mark.parametrize(("page", "classes"), WINDOWS)
def test_code_pages(tmp_path: Path, page: str, classes: str) -> None:
    folders = classes.split()
    names = {f"{f}/{i}.jpg": f"{f}/{i}.jpg".encode(page) for f in folders for i in range(2)}
    with load_dataset(zip_of(tmp_path / "data.zip", names)) as data:
        assert set(data.classes) == set(folders)
        (warning,) = data.warnings
        assert "the zip does not say how its names are encoded" in warning
        assert any(folder in warning for folder in folders)


def test_the_unicode_path_field_decides(tmp_path: Path) -> None:
    names = {f"{f}/1.jpg": f"{f}/1.jpg".encode("cp932") for f in ("飛行機", "盆栽")}
    with load_dataset(zip_of(tmp_path / "data.zip", names, field=True)) as data:
        assert data.classes == ("盆栽", "飛行機")
        assert not any("encoded" in warning for warning in data.warnings)


def test_a_unicode_path_field_for_another_name_is_ignored(tmp_path: Path) -> None:
    names = {"cat/1.jpg": b"b\x84r/1.jpg", "dog/1.jpg": b"dog/1.jpg"}
    path = zip_of(tmp_path / "data.zip", names, field=True)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<L", zlib.crc32(b"b\x84r/1.jpg")), b"0000"))
    # The checksum of the content may have had the same bytes only by chance.
    with load_dataset(path) as dataset:
        assert dataset.classes == ("bär", "dog")


def test_a_unicode_path_field_cannot_hide_an_unsafe_name(tmp_path: Path) -> None:
    names = {"../\u00e4.jpg": b"cat/\x84.jpg", "dog/1.jpg": b"dog/1.jpg"}
    problem = only(zip_of(tmp_path / "data.zip", names, field=True))
    assert (problem.where, problem.code) == ("../ä.jpg", "unsafe_path")


@pytest.mark.parametrize("system", [0, 3])
def test_backslashes_without_any_slash_are_separators(tmp_path: Path, system: int) -> None:
    names = {n: n.encode() for n in ("cat\\1.jpg", "cat\\2.jpg", "dog\\1.jpg", "dog\\2.jpg")}
    with load_dataset(zip_of(tmp_path / "data.zip", names, system=system)) as data:
        assert data.classes == ("cat", "dog")
        assert data.items[0].path == "cat/1.jpg"


@pytest.mark.parametrize("name", ["..\\1.jpg", "cat\\..\\..\\1.jpg", "\\1.jpg", "C:\\1.jpg"])
def test_backslashes_do_not_hide_unsafe_names(tmp_path: Path, name: str) -> None:
    names = {n: n.encode() for n in ("cat\\1.jpg", "dog\\1.jpg", name)}
    assert only(zip_of(tmp_path / "data.zip", names)).code == "unsafe_path"


def test_dots_and_empty_parts_are_removed(tmp_path: Path) -> None:
    names = {"./": b"./", "./cat/1.jpg": b"./cat/1.jpg", "x": b"cat//2.jpg", "y": b"dog/./1.jpg"}
    with load_dataset(zip_of(tmp_path / "data.zip", names, system=3)) as data:
        assert [item.path for item in data.items] == ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg"]


def test_two_names_that_become_the_same(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", two_classes() | {"cat/./0.jpg": jpeg(9)})
    problem = only(path)
    assert (problem.where, problem.code) == ("cat/0.jpg", "duplicate_name")


def test_names_that_fit_no_code_page_are_still_read() -> None:
    assert detect_code_pages([bytes(range(128, 256))]) is not None
