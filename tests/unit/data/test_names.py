from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspt.data.names import (
    confusable_key,
    find_invisible,
    is_noise,
    look_alike_key,
    natural_key,
    unsafe_reason,
)
from dspt.kit.text import printable


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


PATHS = st.text("aBß1029./_ é", max_size=12)


def pieces(path: str) -> object:
    """The order in so many words: folder by folder, numbers before letters."""
    return [
        [
            (0, int(piece), "") if piece[0] in "0123456789" else (1, 0, piece.casefold())
            for piece in re.findall(r"[0-9]+|[^0-9]+", part)
        ]
        for part in path.split("/")
    ]


@given(PATHS, PATHS)
def test_natural_order_is_by_pieces(one: str, other: str) -> None:
    by_key = natural_key(one) < natural_key(other)
    assert by_key == ((pieces(one), one) < (pieces(other), other))


def test_the_key_of_a_hostile_path_is_no_longer_than_it() -> None:
    paths = [f"{i}" + "1a" * 480 for i in range(100)]
    keys = [natural_key(path) for path in paths]
    assert len(set(keys)) == 100
    assert all(path is kept for path, (_, kept) in zip(paths, keys, strict=True))
    assert sum(sys.getsizeof(key) for key, _ in keys) < 300_000


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
        "cat/Icon\r",
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
    "path",
    [
        *("", "..", "a/..", ".", "a/", "a\udcff.jpg", "lpt9.tar.gz", "NUL /x"),
        *("COM\u00b9.jpg", "conin$", "a\u2028b.jpg", "cat/photo\u202egpj.exe", "a\u2066b/1.jpg"),
        "a/" * 32 + "1.jpg",
    ],
)
def test_unsafe_names(path: str) -> None:
    assert unsafe_reason(path)


def test_deep_folders_that_may_be() -> None:
    assert unsafe_reason("a/" * 31 + "1.jpg") is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("red fox", None),
        ("\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", None),  # not without the joiner
        ("\U0001f469\u200d\U0001f52c", None),
        ("a\tb", "control characters"),
        ("\ud800", "control characters"),
        ("a\u2029b", "control characters"),
        ("c\u200bat", "invisible characters"),
        ("\u202etac", "invisible characters"),
        ("cat\u200e", "invisible characters"),
        ("\ufeffcat", "invisible characters"),
        ("\u3164", "invisible characters"),
    ],
)
def test_what_hides_in_a_name(text: str, what: str | None) -> None:
    assert find_invisible(text) == what


def test_what_looks_the_same() -> None:
    assert confusable_key("\uff23at") == confusable_key("cAT") == confusable_key("c\u200dat")
    assert confusable_key("cat") != confusable_key("c\u0430t")  # Cyrillic


@pytest.mark.parametrize(
    ("text", "latin"),
    [
        ("c\u0430t", "cat"),
        ("\u0421\u0410T", "cat"),
        ("\u0441\u043e\u0440", "cop"),
        ("\u0391\u039d\u03a4", "ant"),
        ("\uff23at", "CAT"),
    ],
)
def test_what_looks_the_same_in_another_alphabet(text: str, latin: str) -> None:
    assert look_alike_key(text) == look_alike_key(latin)


def test_what_does_not_look_the_same_in_another_alphabet() -> None:
    names = ["кот", "kot", "собака", "cobaka", "лев", "λέων", "cat", "car"]
    assert len({look_alike_key(name) for name in names}) == len(names)


def test_hostile_names_are_shown_escaped_and_cut() -> None:
    assert printable("a\x1b[2J\n\udcff\u202e.jpg") == "a\\x1b[2J\\n\\udcff\\u202e.jpg"
    assert len(printable("x" * 10_000)) < 200
    assert printable("cat/ö 1.jpg") == "cat/ö 1.jpg"
