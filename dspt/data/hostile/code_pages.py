"""Detect the code page of a few short names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

CODE_PAGES = {
    "cp932": "Japanese",
    "gb18030": "Simplified Chinese",
    "cp949": "Korean",
    "big5hkscs": "Traditional Chinese",
    "cp866": "Cyrillic, DOS",
    "cp1251": "Cyrillic, Windows",
    "cp850": "Western European, DOS",
    "cp437": "Western European, DOS",
    "cp1252": "Western European, Windows",
}
"""Code pages of Windows in the regions where zips without UTF-8 are common."""
OTHER_CODE_PAGES = {
    "cp852": "Central European, DOS",
    "cp1250": "Central European, Windows",
    "cp737": "Greek, DOS",
    "cp1253": "Greek, Windows",
    "cp857": "Turkish, DOS",
    "cp1254": "Turkish, Windows",
}
"""Considered if none of the above fits, because their letters are also letters of the above."""
_FITS = 0.05
"""Largest share of odd characters in names that fit a code page."""
_SAME = 0.05
"""Code pages whose shares differ by less fit equally well."""

# Frequent characters of the East Asian code pages, as ranges of their two bytes.
_FREQUENT = {
    "cp932": ((0x8140, 0x84BE), (0x889F, 0x9872)),
    "gb18030": ((0xA1A1, 0xA3FE), (0xB0A1, 0xD7F9)),
    "cp949": ((0xA1A1, 0xA3FE), (0xB0A1, 0xC8FE)),
    "big5hkscs": ((0xA140, 0xA3BF), (0xA440, 0xC67E)),
}
_RARE = {
    "cp932": ((0x989F, 0x9FFC), (0xE040, 0xEAA4)),
    "gb18030": ((0xD8A1, 0xF7FE),),
    "cp949": ((0xCAA1, 0xFDFE),),
    "big5hkscs": ((0xC940, 0xF9D5),),
}
_LOW_TRAIL_NEVER = ("gb18030", "cp949")
"""Code pages whose frequent and rare characters have a second byte of 0xA1 or more."""


_TENSE, _RARE_VOWELS = (1, 4, 8, 10, 13), (3, 7, 10, 15)
_CLUSTERS = (2, 3, 5, 6, *range(9, 16), 18, 24, 26, 27)
"""Initial consonants, vowels and final consonants of rare syllables, by Unicode's numbers."""
_RARE_WESTERN = "ŠŒŽšœžŸ"


def detect_code_pages(parts: Sequence[bytes]) -> list[str]:
    """Return the code pages that fit best, the most probable first.

    Letters decide first: in the right code page, words are in one script, without symbols and
    with frequent characters. Of the code pages that fit equally, chardet chooses.
    """
    import chardet

    shares: dict[str, float] = {}
    for group in (CODE_PAGES, OTHER_CODE_PAGES):
        for page in group:
            if all(decodes(part, page) for part in parts):
                shares[page] = _odd_share(parts, page)
        if shares and min(shares.values()) <= _FITS:
            break
    if not shares:
        return []
    best = min(shares.values())
    fitting = [page for page, share in shares.items() if share <= best + _SAME]
    joined = b"\n".join(parts)
    likely = chardet.detect(
        joined, include_encodings=fitting, no_match_encoding=fitting[0], compat_names=False
    )["encoding"]
    if likely == "gb18030" and "cp949" in fitting and _is_plain_korean(joined.decode("cp949")):
        likely = "cp949"
    return sorted(fitting, key=lambda page: page != likely)


def _is_plain_korean(text: str) -> bool:
    """Whether `text` has five syllables or more, without rare ones.

    Chinese names in the wrong code page are random Korean syllables; every third is rare.
    """
    syllables = [ord(c) - 0xAC00 for c in text if not c.isascii()]
    return len(syllables) >= 5 and not any(
        s // 588 in _TENSE or s % 588 // 28 in _RARE_VOWELS or s % 28 in _CLUSTERS
        for s in syllables
    )


def decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _odd_share(parts: Sequence[bytes], page: str) -> float:
    """The share of non-ASCII characters that names in this code page would hardly have."""
    odd, total = 0.0, 0
    for part in parts:
        for word in re.findall(r"[^\s\d_.,()+-]+", part.decode(page)):
            strange = [c for c in word if not c.isascii()]
            total += len(strange)
            if _mixed_scripts(word):
                odd += len(strange)
            elif page in _FREQUENT and len(strange) == 1 and re.search("[A-Za-z]", word):
                odd += 0.5  # a single accented letter would be read so, but `T恤` exists
            else:
                odd += sum(_oddness(word, page))
    return odd / max(1, total)


def _oddness(word: str, page: str) -> Iterator[float]:
    for before, character in zip(" " + word, word, strict=False):
        if character.isascii():
            continue
        if page in _FREQUENT:
            yield _rarity(character, page)
        elif not character.isalpha():
            yield 1.0
        else:
            rare = page == "cp1252" and character in _RARE_WESTERN
            yield max(0.3 * rare, float(before.islower() and character.isupper()))


def _mixed_scripts(word: str) -> bool:
    """Whether a word has letters of several scripts, or hardly any ASCII letter among Latin."""
    letters = [c for c in word if c.isalpha()]
    scripts = {_script(c) for c in letters if not c.isascii()}
    plain = sum(c.isascii() for c in letters)
    if len(scripts) > 1:
        return True
    if scripts == {"LATIN"}:
        return len(letters) > 2 and 3 * plain < len(letters)
    return bool(plain) and not scripts <= {"CJK"}


def _script(letter: str) -> str:
    script = re.split(r"[ -]", unicodedata.name(letter, "?"), maxsplit=1)[0]
    return "CJK" if script in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "FULLWIDTH") else script


def _rarity(character: str, page: str) -> float:
    code = character.encode(page)
    if len(code) != 2 or (page in _LOW_TRAIL_NEVER and code[1] < 0xA1):
        return 1.0
    number = int.from_bytes(code, "big")
    if any(low <= number <= high for low, high in _FREQUENT[page]):
        return 0.0
    return 0.5 if any(low <= number <= high for low, high in _RARE[page]) else 1.0
