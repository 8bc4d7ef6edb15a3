"""File names inside a data set: which are safe, which are noise, how they sort and are shown."""

from __future__ import annotations

import re
import unicodedata

MAX_PATH_CHARACTERS = 1000

_RESERVED = frozenset(
    ["CON", "PRN", "AUX", "NUL", *(f"{d}{i}" for d in ("COM", "LPT") for i in range(1, 10))]
)
_NOISE_FILES = frozenset(["thumbs.db", "ehthumbs.db", "desktop.ini"])
_NOISE_FOLDERS = frozenset(["__macosx", "@eadir"])


def unsafe_reason(path: str) -> str | None:
    """Why `path` must not name a file of a data set, or None if it may."""
    if not path:
        return "the name is empty"
    if len(path) > MAX_PATH_CHARACTERS:
        return f"the name is longer than {MAX_PATH_CHARACTERS:,} characters"
    categories = {unicodedata.category(c) for c in path}
    if "Cs" in categories:
        return "the name is not valid Unicode"
    if "Cc" in categories:
        return "the name holds control characters"
    if "\\" in path:
        return "the name holds a backslash; write the zip with `/` between folders"
    if path.startswith("/"):
        return "the name is an absolute path"
    if re.match(r"[A-Za-z]:", path):
        return "the name begins with a drive letter"
    for part in path.split("/"):
        if part == "..":
            return "the name leads out of the folder with `..`"
        if part in ("", "."):
            return "the name has an empty part or a `.` in it"
        if part.split(".")[0].rstrip().upper() in _RESERVED:
            return f"{part!r} is the name of a device on Windows; rename it"
    return None


def is_noise(path: str) -> bool:
    """Whether an operating system left this file behind: it is passed over without a word."""
    *folders, name = path.split("/")
    return (
        any(f.startswith(".") or f.lower() in _NOISE_FOLDERS for f in folders)
        or name.startswith(".")
        or name.lower() in _NOISE_FILES
        or name.lower() in _NOISE_FOLDERS
    )


def natural_key(path: str) -> tuple[object, ...]:
    """Sort key that puts `2.jpg` before `10.jpg`, folder by folder, whatever the case."""
    parts = tuple(
        tuple(
            # a number compares by its length, then its digits: no conversion of endless numbers
            (0, len(piece.lstrip("0")), piece.lstrip("0"))
            if piece[0] in "0123456789"
            else (1, 0, piece.casefold())
            for piece in re.findall(r"[0-9]+|[^0-9]+", part)
        )
        for part in path.split("/")
    )
    return (parts, path)


def shown(path: str) -> str:
    """`path` made fit for a message or JSON: hostile characters escaped, endless names cut."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)
    return text if len(text) <= 200 else f"{text[:100]}...{text[-90:]}"
