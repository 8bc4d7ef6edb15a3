from __future__ import annotations

import pytest

from dspt.data.names import is_noise, natural_key, shown, unsafe_reason


def test_natural_order() -> None:
    names = ["b/10.jpg", "b/2.jpg", "a/x.jpg", "B/3.jpg", "a10/1", "a9/1", "b/02.jpg", "b/img"]
    assert sorted(names, key=natural_key) == [
        "a/x.jpg",
        "a9/1",
        "a10/1",
        "b/02.jpg",
        "b/2.jpg",
        "B/3.jpg",
        "b/10.jpg",
        "b/img",
    ]


def test_natural_order_of_endless_numbers() -> None:
    names = ["9" * 6000, "8" * 6000, "1" + "0" * 6000, "²", "٣"]
    assert sorted(names, key=natural_key)[:3] == ["8" * 6000, "9" * 6000, "1" + "0" * 6000]


@pytest.mark.parametrize(
    "path",
    [
        "__MACOSX/cat/._1.jpg",
        "cat/.DS_Store",
        ".git/config",
        "cat/._1.jpg",
        "cat/Thumbs.db",
        "THUMBS.DB",
        "cat/desktop.ini",
        "cat/@eaDir/1.jpg",
    ],
)
def test_noise(path: str) -> None:
    assert is_noise(path)


@pytest.mark.parametrize("path", ["cat/1.jpg", "macosx/1.jpg", "cat/thumbs.jpg", "a.b/c.d.jpg"])
def test_not_noise(path: str) -> None:
    assert not is_noise(path)


@pytest.mark.parametrize(
    "path",
    ["cat/1.jpg", "Ärger/ü.jpg", "cat/con man.jpg", "console/1.jpg", "a..b/c.jpg", "犬/1.jpg"],
)
def test_safe_names(path: str) -> None:
    assert unsafe_reason(path) is None


@pytest.mark.parametrize(
    "path", ["", "..", "a/..", ".", "a/", "a\udcff.jpg", "lpt9.tar.gz", "NUL /x"]
)
def test_unsafe_names(path: str) -> None:
    assert unsafe_reason(path)


def test_hostile_names_are_shown_escaped_and_cut() -> None:
    assert shown("a\x1b[2J\n\udcff\u202e.jpg") == "a\\x1b[2J\\n\\udcff\\u202e.jpg"
    assert len(shown("x" * 10_000)) < 200
    assert shown("cat/ö 1.jpg") == "cat/ö 1.jpg"
