"""Text from outside that is to be stored and shown."""

from __future__ import annotations

import unicodedata

#: Control characters and lone surrogates: databases and terminals choke on them.
_REFUSED = frozenset({"Cc", "Cs"})


def is_clean(text: str) -> bool:
    """Whether there are no control characters or lone surrogates in it."""
    return not any(unicodedata.category(character) in _REFUSED for character in text)


def cleaned(text: str) -> str:
    """The text without control characters and lone surrogates."""
    return "".join(c for c in text if unicodedata.category(c) not in _REFUSED)
