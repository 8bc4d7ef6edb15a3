"""Opaque ids that sort by creation time, so that a list needs no other cursor."""

from __future__ import annotations

import hashlib
import re

from ulid import ULID

_ID = re.compile(r"[a-z]{1,8}_[0-9a-hjkmnp-tv-z]{26}")  # Crockford's base 32: no i, l, o, u

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
