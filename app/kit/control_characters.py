"""Control characters in text from outside."""

from __future__ import annotations

import unicodedata

#: Control characters and lone surrogates, which databases and terminals cannot handle.
_REFUSED = frozenset({"Cc", "Cs"})


def is_clean(text: str) -> bool:
    """Return whether the text has no control characters or lone surrogates."""
    return not any(unicodedata.category(character) in _REFUSED for character in text)


def cleaned(text: str) -> str:
    """Return the text without control characters and lone surrogates."""
    return "".join(c for c in text if unicodedata.category(c) not in _REFUSED)
