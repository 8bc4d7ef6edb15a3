"""Opaque ids that sort by creation time, so that a list needs no other cursor."""

from __future__ import annotations

import hashlib
import re

from ulid import ULID

#: Pattern of an id after its prefix: a ULID in Crockford's base 32, which has no i, l, o, u.
ID_BODY = "[0-9a-hjkmnp-tv-z]{26}"
_ID = re.compile(f"[a-z]{{1,8}}_{ID_BODY}")

#: Owner of everything that is created while the service runs without keys.
LOCAL_OWNER = "local"


def new_id(prefix: str) -> str:
    """Return `prefix_` and a lower-case ULID: 48 bits of time in milliseconds, 80 random bits."""
    return f"{prefix}_{str(ULID()).lower()}"


def is_id(text: str) -> bool:
    """Return whether `text` has the form of an id."""
    return _ID.fullmatch(text) is not None


def owner_digest(owner: str, text: str) -> str:
    """Return a SHA-256 digest (hex) that is unique where `text` is unique within an owner."""
    return hashlib.sha256(f"{owner}\0{text}".encode()).hexdigest()
