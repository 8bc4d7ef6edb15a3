"""Names fit to print."""

from __future__ import annotations

import pytest

from dspt.kit.text import counted, printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ein Bär.png", "ein Bär.png"),
        ("a\x1b[2J\u202e", r"a\x1b[2J\u202e"),
        ("x" * 200, "x" * 200),
        ("ab" * 101, "ab" * 50 + "..." + "ab" * 45),
        ("\x1b" * 60, r"\x1b" * 25 + "..." + ("1b" + r"\x1b" * 22)),
        ("a" * 10**6 + "\n", "a" * 100 + "..." + "a" * 88 + r"\n"),
    ],
)
def test_invisible_characters_are_escaped_and_the_middle_is_cut(name: str, shown: str) -> None:
    assert printable(name) == shown


def test_a_number_of_things_is_singular_for_one_alone() -> None:
    assert [counted(n, "file") for n in (0, 1, 1234)] == ["0 files", "1 file", "1,234 files"]
    assert counted(1, "class", "classes") == "1 class"
    assert counted(2, "class", "classes") == "2 classes"
