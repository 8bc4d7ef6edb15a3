"""File names inside a data set: which are safe, which are noise, how they sort and are shown."""

from __future__ import annotations

import re
import unicodedata

MAX_PATH_CHARACTERS = 1000
MAX_DEPTH = 32
"""Folders in one another, the file counted too."""

_RESERVED = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [f"{device}{i}" for device in ("COM", "LPT") for i in "123456789\u00b9\u00b2\u00b3"]
)
_NOISE_FILES = frozenset(["thumbs.db", "ehthumbs.db", "desktop.ini"])
_NOISE_FOLDERS = frozenset(["__macosx", "@eadir"])
_TURNS_TEXT = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_JOINERS = frozenset("\u200c\u200d")
"""Invisible, but words of many languages and emoji are not written without them."""
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols that show nothing."""
_LINES = frozenset(["Cc", "Cs", "Zl", "Zp"])
_KEY_END, _KEY_NUMBER = "\0", "\1"
_LARGEST_CHARACTER = 0x10FFFF


def unsafe_reason(path: str) -> str | None:
    """Why `path` must not name a file of a data set, or None if it may."""
    if not path:
        return "the name is empty"
    if len(path) > MAX_PATH_CHARACTERS:
        return f"the name is longer than {MAX_PATH_CHARACTERS:,} characters"
    if not path.isprintable():  # quick, and nearly always enough
        categories = {unicodedata.category(c) for c in path}
        if "Cs" in categories:
            return "the name is not valid Unicode"
        if categories & _LINES:
            return "the name holds control characters"
        if not _TURNS_TEXT.isdisjoint(path):
            return "the name holds characters that turn the direction of writing"
    if "\\" in path:
        return "the name holds a backslash; write the zip with `/` between folders"
    if path.startswith("/"):
        return "the name is an absolute path"
    if re.match(r"[A-Za-z]:", path):
        return "the name begins with a drive letter"
    if path.count("/") >= MAX_DEPTH:
        return f"more than {MAX_DEPTH} folders in one another"
    for part in path.split("/"):
        if part == "..":
            return "the name leads out of the folder with `..`"
        if part in ("", "."):
            return "the name has an empty part or a `.` in it"
        if part.split(".")[0].rstrip().upper() in _RESERVED:
            return f"{part!r} is the name of a device on Windows; rename it"
    return None


def find_invisible(text: str) -> str | None:
    """What `text` must not hold if people are to read it as a name: "control characters" or
    "invisible characters"; None if there are none in it."""
    if text.isprintable() and _FILLERS.isdisjoint(text):
        return None
    for character in text:
        category = unicodedata.category(character)
        if category in _LINES:
            return "control characters"
        if character in _FILLERS or (category == "Cf" and character not in _JOINERS):
            return "invisible characters"
    return None


def confusable_key(text: str) -> str:
    """The same for texts that look the same but for case, width of letters and joiners."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c not in _JOINERS)


def is_noise(path: str) -> bool:
    """Whether an operating system left this file behind: it is passed over without a word."""
    *folders, name = path.split("/")
    return (
        any(f.startswith(".") or f.lower() in _NOISE_FOLDERS for f in folders)
        or name.startswith(".")
        or name.lower() in _NOISE_FILES
        or name.lower() in _NOISE_FOLDERS
    )


def natural_key(path: str) -> tuple[str, str]:
    """Sort key that puts `2.jpg` before `10.jpg`, folder by folder, whatever the case.

    It is about as long as the path: a hostile zip has very many, very long ones.
    """
    folded = path.casefold().replace("/", _KEY_END)
    return re.sub(r"[0-9]+", _number_key, folded), path


def _number_key(found: re.Match[str]) -> str:
    # a number compares by its length, then its digits, and comes before any letter
    digits = found[0].lstrip("0")
    return f"{_KEY_NUMBER}{chr(min(len(digits), _LARGEST_CHARACTER))}{digits}"
