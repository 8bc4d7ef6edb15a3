"""Make text fit to print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

_LONGEST = 200
"""Characters of a name that are printed."""


def without_prefix(message: str) -> str:
    """Return a message of pydantic without the prefix that it gives to those of validators."""
    return message.removeprefix("Value error, ")


def counted(number: int, noun: str, nouns: str = "") -> str:
    """Return `1 file`, `2 files`; `nouns`: the plural, where an s does not make it."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def printable(path: str) -> str:
    """Return `path` with invisible characters escaped and the middle of a long name cut."""
    if len(path) > _LONGEST:  # not escaped as a whole, which for a hostile name would take long
        return f"{_escaped(path[:100])[:100]}...{_escaped(path[-90:])[-90:]}"
    text = _escaped(path)
    return text if len(text) <= _LONGEST else f"{text[:100]}...{text[-90:]}"


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def listed(
    items: Sequence[T], most: int, text_of: Callable[[T], str], separator: str = ", "
) -> str:
    """Return the texts of the first `most` items, and the number of the others.

    `a, b and 3 more`, or with another separator `a; b; and 3 more`.
    """
    found, more = separator.join(map(text_of, items[:most])), len(items) - most
    before_and = " " if separator == ", " else separator
    return f"{found}{before_and}and {more:,} more" if more > 0 else found
