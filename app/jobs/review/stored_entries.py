"""What a worker stores for a job: one JSON object, whose last member is a list of entries.

An audit of 200,000 files has 44 MB, so it is read piece by piece.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import IO, Any

_CHUNK = 256 * 1024
#: The part before the entries; texts in it are a few sentences.
_MAX_HEAD = 64 * 1024
#: Within a JSON string the quotes would be escaped.
_ENTRIES = re.compile(r',?\s*"entries":\s*\[\s*')
_SEPARATOR = re.compile(r"\s*,\s*")
_decoder = json.JSONDecoder()


class StoredEntries:
    """An open file with an audit or with predictions."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        # ASCII: json.dumps escapes all other characters, so a character is a byte.
        text = file.read(_MAX_HEAD).decode("ascii")
        found = _ENTRIES.search(text)
        if found is None:
            raise ValueError("has no entries")
        self.head: dict[str, Any] = json.loads(text[: found.start()] + "}")
        """All members but the entries."""
        self.start = found.end()
        """Position of the first entry in the file."""

    def entries(self, start: int | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the entries from position `start` on, each with the position of the next one.

        Default: all. After the last entry the position is 0. Raises ValueError if there is no entry
        at `start`.
        """
        position = self.start if start is None else start
        if position < self.start:
            raise ValueError(f"no entry at {position}")
        self._file.seek(position)
        text, at = "", 0
        while True:
            try:
                entry, end = _decoder.raw_decode(text, at)
                separator = _SEPARATOR.match(text, end)
                more = separator is not None and separator.end() < len(text)
                if not more and not text.startswith("]", end):  # the next one is in the next chunk
                    raise ValueError(f"incomplete at {position + end}")
            except ValueError:
                chunk = self._file.read(_CHUNK).decode("ascii")
                if not chunk or len(text) - at > _CHUNK:  # no entry is as long
                    if text[at:].startswith("]") and position + at == self.start:
                        return  # no entries at all
                    raise
                position, text, at = position + at, text[at:] + chunk, 0
                continue
            if not isinstance(entry, dict):
                raise ValueError(f"no entry at {position + at}")
            at = end if separator is None else separator.end()
            yield (0 if separator is None else position + at), entry
            if separator is None:
                return

    def raw_entries(self) -> Iterator[bytes]:
        """Yield the stored bytes of the list, from its bracket to the end of the file."""
        yield b"["
        self._file.seek(self.start)
        while chunk := self._file.read(_CHUNK):
            yield chunk

    def is_ascii(self) -> bool:
        """Return whether all names are ASCII, as far as can be told without parsing."""
        return all(b"\\u" not in chunk for chunk in self._overlapping())

    def _overlapping(self) -> Iterator[bytes]:
        self._file.seek(self.start)
        last = b""
        while chunk := self._file.read(_CHUNK):
            yield last + chunk
            last = chunk[-1:]
