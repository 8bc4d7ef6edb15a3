"""Archives whose members have hostile names."""

from __future__ import annotations

import random
import unicodedata

from benchmarks.hostile_input.case import Family
from benchmarks.hostile_input.zip_bytes import UTF8, Entry, png, with_entries

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
_HARMLESS_BUT_SHARP = [
    "=cmd|' /C calc'!A0", "@SUM(1+1)", "+1-1", "'; DROP TABLE jobs; --",
    "<script>alert(1)</script>",
    "{{7*7}}", "${jndi:ldap:x}", "{0.__class__}", "%s%n%x", "$(reboot)", "`id`", "a|b", "-rf", "*",
    "?", '"', "a&b", "\U0001f408", "\u0301\u0302\u0303", "\u5973", "e" + "\u0301" * 90, "null",
    "constructor", "__proto__", "None", "\ufffd", "\ue000", "\U0010fffd",
]  # fmt: skip


def _named(rng: random.Random, *names: str | bytes, flags: int = UTF8) -> bytes:
    encoded = (n.encode("utf-8", "surrogatepass") if isinstance(n, str) else n for n in names)
    return with_entries(rng, *(Entry(name, png(rng), flags=flags) for name in encoded))


def _pick(rng: random.Random, n: int, spellings: list[str]) -> str:
    """The n-th spelling with a file at its end."""
    return spellings[n % len(spellings)].replace("{}", f"{rng.choice('abcdef')}{n}.png")


def traversal(rng: random.Random, n: int) -> bytes:
    return _named(rng, _pick(rng, n, _TRAVERSAL))


def absolute(rng: random.Random, n: int) -> bytes:
    return _named(rng, _pick(rng, n, _ABSOLUTE))


def nul_in_name(rng: random.Random, n: int) -> bytes:
    at = ["\0cat/{}", "cat/\0{}", "cat/{}\0", "cat/{}\0.exe", "cat\0/{}", "cat/{}\0/../../x"][n % 6]
    return _named(rng, _pick(rng, n, [at]))


def overlong_utf8(rng: random.Random, n: int) -> bytes:
    part = _OVERLONG[n % len(_OVERLONG)]
    flags = UTF8 if n // len(_OVERLONG) % 2 == 0 else 0
    return _named(rng, rng.choice((b"cat/", b"")) + part + b"%d.png" % n, flags=flags)


def look_alikes(rng: random.Random, n: int) -> bytes:
    return _named(rng, f"{_LOOK_ALIKES[n % len(_LOOK_ALIKES)]}{n}.png")


def trailing_dots_and_blanks(rng: random.Random, n: int) -> bytes:
    end = _TRAILING[n % len(_TRAILING)]
    return _named(rng, *((f"cat{end}/1.png",) if n % 2 else ("cat/1", f"cat/1{end}")))


def device_names(rng: random.Random, n: int) -> bytes:
    device = _DEVICES[n % len(_DEVICES)]
    form = rng.choice(["cat/{}", "cat/{}.jpg", "{}/1.png", "cat/{}.tar.gz", "{}"])
    return _named(rng, form.format(device))


def control_characters(rng: random.Random, n: int) -> bytes:
    form = rng.choice(["cat/a{}b.png", "c{}at/1.png", "{}cat/1.png", "cat/1.png{}"])
    return _named(rng, form.format(_CONTROL[n % len(_CONTROL)]))


def invisible_characters(rng: random.Random, n: int) -> bytes:
    hidden = _INVISIBLE[n % len(_INVISIBLE)]
    form = ["cat/photo{}gpj.exe", "c{}at/1.png", "{}/1.png"][n // len(_INVISIBLE) % 3]
    return _named(rng, form.format(hidden))


def duplicate_names(rng: random.Random, n: int) -> bytes:
    name = rng.choice(["cat/0.png", "dog/1.png", "cat/x.png"])
    return _named(rng, *[name] * (2 + n % 3))


def names_equal_but_for_case(rng: random.Random, n: int) -> bytes:
    pairs = [
        ("cat/A.png", "cat/a.png"),
        ("Cat/1.png", "CAT/1.png"),
        ("cat/\u00df.png", "cat/SS.png"),
        ("cat/\u0130.png", "cat/i\u0307.png"),
        ("K/1.png", "\u212a/1.png"),
    ]
    letters = "abcdefghij"
    many = [
        "".join(c.upper() if i >> k & 1 else c for k, c in enumerate(letters)) for i in range(200)
    ]
    return _named(rng, *([f"cat/{m}.png" for m in many] if n % 6 == 5 else pairs[n % 6]))


def names_equal_but_for_normal_form(rng: random.Random, n: int) -> bytes:
    texts = ["caf\u00e9", "\u212bngstrom", "\u1e9b\u0323", "\ufb01sh", "\uac00", "\u00c5\u0301"]
    text = texts[n % len(texts)]
    forms = [
        unicodedata.normalize("NFC", text),
        unicodedata.normalize("NFD", text),
        unicodedata.normalize("NFKC", text),
        unicodedata.normalize("NFKD", text),
    ]
    forms = forms[:2] if n % 2 else rng.sample(forms, 2)
    return _named(rng, *(f"cat/{f}.png" if n % 4 < 2 else f"{f}/1.png" for f in forms))


def file_and_folder(rng: random.Random, n: int) -> bytes:
    names = [("cat/x", "cat/x/1.png"), ("x", "x/1.png"), ("cat/x/", "cat/x"), ("cat/0.png/1.png",)]
    return _named(rng, *names[n % len(names)])


def long_names(rng: random.Random, n: int) -> bytes:
    length = [255, 256, 999, 1000, 1001, 4096, 10_000, 65_000][n % 8]
    unit = rng.choice(["x", "\u00e9", "\u72ac", "1a", "a ", "."])
    name = (unit * length).encode()[:length].decode(errors="ignore")
    return _named(rng, f"cat/{name}" if n % 3 else f"{name[:60_000]}/1.png")


def deep_names(rng: random.Random, n: int) -> bytes:
    depth = [20, 31, 32, 33, 100, 400, 1000, 20_000][n % 8]
    many = 1 if depth > 100 else 30
    return _named(rng, *(f"cat/{i}/" + "a/" * (depth - 2) + "1.png" for i in range(many)))


def empty_names(rng: random.Random, n: int) -> bytes:
    names = ["", "/", ".", "./", "cat//1.png", "cat/./1.png", "./cat/1.png", "cat/", "//", "cat/ /"]
    return _named(rng, names[n % len(names)])


def class_names_with_an_edge(rng: random.Random, n: int) -> bytes:
    name = _HARMLESS_BUT_SHARP[n % len(_HARMLESS_BUT_SHARP)]
    return _named(rng, f"{name}/1.png", f"{name}/{name}2.png")


FAMILIES: dict[str, Family] = {
    "traversal": traversal,
    "absolute path": absolute,
    "NUL in name": nul_in_name,
    "overlong UTF-8": overlong_utf8,
    "look-alike letters": look_alikes,
    "trailing dots, blanks": trailing_dots_and_blanks,
    "device names": device_names,
    "control characters": control_characters,
    "invisible characters": invisible_characters,
    "duplicate names": duplicate_names,
    "names but for case": names_equal_but_for_case,
    "names but for form": names_equal_but_for_normal_form,
    "file and folder": file_and_folder,
    "long names": long_names,
    "deep names": deep_names,
    "empty names": empty_names,
    "sharp class names": class_names_with_an_edge,
}
