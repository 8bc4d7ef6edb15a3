"""File names in a data set: safety, files of operating systems, sort order."""

from __future__ import annotations

import re
import unicodedata

MAX_PATH_CHARACTERS = 1000
MAX_DEPTH = 32
"""Levels of a path, the file included."""

_RESERVED = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [f"{device}{i}" for device in ("COM", "LPT") for i in "123456789\u00b9\u00b2\u00b3"]
)
_NOISE_FILES = frozenset(["thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"])
"""In lower case. The last one is the picture of a folder on macOS."""
_NOISE_FOLDERS = frozenset(["__macosx", "@eadir"])
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_JOINERS = frozenset("\u200c\u200d")
"""Invisible, but words of many languages and emoji need them."""
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols without a visible glyph."""
_LATIN_TWINS = str.maketrans(
    # Cyrillic, then Greek; capital letters, then small ones.
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0405\u0406\u0408"
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0458\u04bb\u0501\u051b\u051d"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    "\u03bd\u03bf",
    "ABEKMHOPCTYXSIJaeopcyxsijhdqwABEZHIKMNOPTYXvo",
)
"""Letters that most fonts draw as a Latin one."""
_LINES = frozenset(["Cc", "Cs", "Zl", "Zp"])
_KEY_END, _KEY_NUMBER = "\0", "\1"
_LARGEST_CHARACTER = 0x10FFFF


def unsafe_reason(path: str) -> str | None:
    """Return why `path` is not allowed as the path of a file in a data set; None if it is."""
    if not path:
        return "the name is empty"
    if len(path) > MAX_PATH_CHARACTERS:
        return f"the name is longer than {MAX_PATH_CHARACTERS:,} characters"
    if not path.isprintable():  # fast, and nearly always True
        categories = {unicodedata.category(c) for c in path}
        if "Cs" in categories:
            return "the name is not valid Unicode"
        if categories & _LINES:
            return "the name contains control characters"
        if not _BIDI_CONTROLS.isdisjoint(path):
            return "the name contains characters that change the direction of text"
    if "\\" in path:
        return "the name contains a backslash; use `/` between folders"
    if path.startswith("/"):
        return "the name is an absolute path"
    if re.match(r"[A-Za-z]:", path):
        return "the name starts with a drive letter"
    if path.count("/") >= MAX_DEPTH:
        return f"more than {MAX_DEPTH} nested folders"
    for part in path.split("/"):
        if part == "..":
            return "the name leaves the folder with `..`"
        if part in ("", "."):
            return "the name has an empty part or the part `.`"
        if part.split(".")[0].rstrip().upper() in _RESERVED:
            return f"{part!r} is a reserved name on Windows; rename it"
    return None


def find_invisible(text: str) -> str | None:
    """Return "control characters" or "invisible characters" if `text` contains any, else None."""
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
    """Return a key that is equal for texts that differ only in case, letter width and joiners."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c not in _JOINERS)


def look_alike_key(text: str) -> str:
    """Return a `confusable_key` that is also equal for Cyrillic, Greek and Latin letters alike."""
    return confusable_key(text.translate(_LATIN_TWINS))


def is_noise(path: str) -> bool:
    """Return whether an operating system created this file; such files are ignored silently."""
    *folders, name = path.split("/")
    return (
        any(f.startswith(".") or f.lower() in _NOISE_FOLDERS for f in folders)
        or name.startswith(".")
        or name.lower() in _NOISE_FILES
        or name.lower() in _NOISE_FOLDERS
    )


def natural_key(path: str) -> tuple[str, str]:
    """Return a sort key that puts `2.jpg` before `10.jpg`, folder by folder, ignoring case.

    It is about as long as the path, because a hostile zip has very many, very long paths.
    """
    folded = path.casefold().replace("/", _KEY_END)
    return re.sub(r"[0-9]+", _number_key, folded), path


def _number_key(found: re.Match[str]) -> str:
    # A number compares by its length, then its digits, and comes before any letter.
    digits = found[0].lstrip("0")
    return f"{_KEY_NUMBER}{chr(min(len(digits), _LARGEST_CHARACTER))}{digits}"
