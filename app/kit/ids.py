"""Opaque ids that sort by the time they were made, so that a list needs no other cursor."""

from __future__ import annotations

import hashlib
import re
import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_ID = re.compile(rf"[a-z]{{1,8}}_[{_ALPHABET}]{{26}}")
_TIME_BITS, _RANDOM_BITS = 48, 80

#: Whose everything is while the service runs without keys.
LOCAL_OWNER = "local"


def new_id(prefix: str) -> str:
    """`prefix_` and 26 characters: milliseconds since 1970 (48 bits), then 80 random bits."""
    number = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    characters = (_TIME_BITS + _RANDOM_BITS + 4) // 5
    text = "".join(_ALPHABET[number >> 5 * i & 31] for i in reversed(range(characters)))
    return f"{prefix}_{text}"


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id; anything else names nothing."""
    return _ID.fullmatch(text) is not None


def owner_digest(owner: str, text: str) -> str:
    """Digest (SHA-256, hex) that is unique where `text` is unique within an owner."""
    return hashlib.sha256(f"{owner}\0{text}".encode()).hexdigest()
