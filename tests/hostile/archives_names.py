"""Archives whose members have hostile names."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence

from tests.hostile.case import Family, of
from tests.hostile.zip_bytes import UTF8, Entry, png, with_entries

_TRAVERSAL = [
    "../{}", "../../../../../../{}", "cat/../../{}", "cat/..\\..\\{}", "..\\{}", "..\\..\\{}",
    "./../{}", "cat/./../../{}", "....//....//{}", "..;/{}", "%2e%2e/{}", "%2e%2e%2f{}", "..%5c{}",
    "..%c0%af{}", "%252e%252e%252f{}", "cat/....\\\\{}", "cat/..", "..", "../", "cat/../../",
    "__MACOSX/../../{}", ".hidden/../../{}", "~/{}", "$HOME/{}", "cat/{}/../../../x",
]  # fmt: skip
_ABSOLUTE = [
    "/{}", "//{}", "///{}", "/etc/{}", "\\{}", "\\\\server\\share\\{}", "//server/share/{}",
    "C:/{}", "C:\\{}", "c:{}", "z:/windows/{}", "\\\\?\\C:\\{}", "\\\\.\\pipe\\{}", "/dev/{}",
    "/proc/self/fd/{}", "file:///{}", "C:/../{}", "/../{}",
]  # fmt: skip
_NUL = ["\0cat/{}", "cat/\0{}", "cat/{}\0", "cat/{}\0.exe", "cat\0/{}", "cat/{}\0/../../x"]
_OVERLONG = [
    b"\xc0\xae\xc0\xae/", b"\xc0\xae\xc0\xae\xc0\xaf", b"..\xc0\xaf", b"\xe0\x80\xae\xe0\x80\xae/",
    b"\xf0\x80\x80\xae/", b"\xfc\x80\x80\x80\x80\xae/", b"\xc1\x9c", b"\xed\xa0\x80", b"\xff\xfe",
    b"\x80", b"\xc3", b"\xf4\x90\x80\x80", b"\xed\xaf\xbf\xed\xbf\xbf", b"\xc0\x80",
]  # fmt: skip
_LOOK_ALIKES = [
    "\uff0e\uff0e/", "\u2024\u2024/", "..\u2215", "..\u2044", "..\uff0f", "\u2025/", "\u2026/",
    "\uff0fetc\uff0f", "..\uff3c", "\u3002\u3002/", "\u29f8etc\u29f8", "\u02d9\u02d9/", "C\uff1a/",
    "c\u0430t/", "\uff43\uff41\uff54/", "d\u043eg/", "\u1d04at/", "ca\u0442/",
]  # fmt: skip
_TRAILING = [". ", " ", ".", "...", "  .", "\u00a0", "\u3000", " .jpg ", ".png.", "::$DATA", ":x"]
_DEVICES = [
    "CON", "PRN", "AUX", "NUL", "COM1", "COM9", "LPT1", "LPT9", "con", "nUl", "COM\u00b9", "CONIN$",
    "CONOUT$", "CLOCK$", "KEYBD$", "NUL ", "NUL.", "com0",
]  # fmt: skip
_CONTROL = [
    "\n", "\r\n", "\t", "\x07", "\x08", "\x1b[2J", "\x1b]0;owned\x07", "\x7f", "\x9b31m", "\x85",
    "\u2028", "\u2029", "\x01", "\x1b[1A\x1b[2K", "\r",
]  # fmt: skip
_INVISIBLE = [
    "\u202e", "\u202d", "\u202a\u202c", "\u2066\u2069", "\u2067", "\u200b", "\u200d", "\u200e",
    "\u2060", "\ufeff", "\u00ad", "\u3164", "\u115f", "\u061c", "\U000e0041", "\u180e", "\u2800",
]  # fmt: skip
_SHARP = [
    "=cmd|' /C calc'!A0", "@SUM(1+1)", "+1-1", "'; DROP TABLE jobs; --",
    "<script>alert(1)</script>",
    "{{7*7}}", "${jndi:ldap:x}", "{0.__class__}", "%s%n%x", "$(reboot)", "`id`", "a|b", "-rf", "*",
    "?", '"', "a&b", "\U0001f408", "\u0301\u0302\u0303", "\u5973", "e" + "\u0301" * 90, "null",
    "constructor", "__proto__", "None", "\ufffd", "\ue000", "\U0010fffd",
]  # fmt: skip
_EMPTY = ["", "/", ".", "./", "cat//1.png", "cat/./1.png", "./cat/1.png", "cat/", "//", "cat/ /"]
_EQUAL_BUT_FOR_CASE = [
    ("cat/A.png", "cat/a.png"), ("Cat/1.png", "CAT/1.png"), ("cat/\u00df.png", "cat/SS.png"),
    ("cat/\u0130.png", "cat/i\u0307.png"), ("K/1.png", "\u212a/1.png"),
    [
        f"cat/{''.join(c.upper() if i >> k & 1 else c for k, c in enumerate('abcdefghij'))}.png"
        for i in range(200)
    ],
]  # fmt: skip
_TWO_FORMS = ["caf\u00e9", "\u212bngstrom", "\u1e9b\u0323", "\ufb01sh", "\uac00", "\u00c5\u0301"]
_FILE_AND_FOLDER = [
    ("cat/x", "cat/x/1.png"), ("x", "x/1.png"), ("cat/x/", "cat/x"), ("cat/0.png/1.png",),
]  # fmt: skip


def _named(rng: random.Random, *names: str | bytes, flags: int = UTF8) -> bytes:
    encoded = (n.encode("utf-8", "surrogatepass") if isinstance(n, str) else n for n in names)
    return with_entries(rng, *(Entry(name, png(rng), flags=flags) for name in encoded))


def _each(spellings: Sequence[str]) -> Family:
    """Return the family that takes these spellings in turn and inserts the name of a file."""
    return lambda rng, n: _named(
        rng, of(spellings, n).replace("{}", f"{rng.choice('abcdef')}{n}.png")
    )


def _overlong(rng: random.Random, n: int) -> bytes:
    flags = UTF8 if n // len(_OVERLONG) % 2 == 0 else 0
    name = rng.choice((b"cat/", b"")) + of(_OVERLONG, n) + b"%d.png" % n
    return _named(rng, name, flags=flags)


def _trailing(rng: random.Random, n: int) -> bytes:
    end = of(_TRAILING, n)
    return _named(rng, *((f"cat{end}/1.png",) if n % 2 else ("cat/1", f"cat/1{end}")))


def _equal_but_for_form(rng: random.Random, n: int) -> bytes:
    text = of(_TWO_FORMS, n)
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    forms = forms[:2] if n % 2 else rng.sample(forms, 2)
    return _named(rng, *(f"cat/{f}.png" if n % 4 < 2 else f"{f}/1.png" for f in forms))


def _long(rng: random.Random, n: int) -> bytes:
    length = of([255, 256, 999, 1000, 1001, 4096, 10_000, 65_000], n)
    unit = rng.choice(["x", "\u00e9", "\u72ac", "1a", "a ", "."])
    name = (unit * length).encode()[:length].decode(errors="ignore")
    return _named(rng, f"cat/{name}" if n % 3 else f"{name[:60_000]}/1.png")


def _deep(rng: random.Random, n: int) -> bytes:
    depth = of([20, 31, 32, 33, 100, 400, 1000, 20_000], n)
    many = 1 if depth > 100 else 30
    return _named(rng, *(f"cat/{i}/" + "a/" * (depth - 2) + "1.png" for i in range(many)))


FAMILIES: dict[str, Family] = {
    "traversal": _each(_TRAVERSAL),
    "absolute path": _each(_ABSOLUTE),
    "NUL in name": _each(_NUL),
    "overlong UTF-8": _overlong,
    "look-alike letters": lambda rng, n: _named(rng, f"{of(_LOOK_ALIKES, n)}{n}.png"),
    "trailing dots, blanks": _trailing,
    "device names": lambda rng, n: _named(
        rng,
        rng.choice(["cat/{}", "cat/{}.jpg", "{}/1.png", "cat/{}.tar.gz", "{}"]).format(
            of(_DEVICES, n)
        ),
    ),
    "control characters": lambda rng, n: _named(
        rng,
        rng.choice(["cat/a{}b.png", "c{}at/1.png", "{}cat/1.png", "cat/1.png{}"]).format(
            of(_CONTROL, n)
        ),
    ),
    "invisible characters": lambda rng, n: _named(
        rng,
        of(["cat/photo{}gpj.exe", "c{}at/1.png", "{}/1.png"], n // len(_INVISIBLE)).format(
            of(_INVISIBLE, n)
        ),
    ),
    "duplicate names": lambda rng, n: _named(
        rng, *[rng.choice(["cat/0.png", "dog/1.png", "cat/x.png"])] * (2 + n % 3)
    ),
    "names but for case": lambda rng, n: _named(rng, *of(_EQUAL_BUT_FOR_CASE, n)),
    "names but for form": _equal_but_for_form,
    "file and folder": lambda rng, n: _named(rng, *of(_FILE_AND_FOLDER, n)),
    "long names": _long,
    "deep names": _deep,
    "empty names": lambda rng, n: _named(rng, of(_EMPTY, n)),
    "sharp class names": lambda rng, n: _named(
        rng, f"{of(_SHARP, n)}/1.png", f"{of(_SHARP, n)}/{of(_SHARP, n)}2.png"
    ),
}
