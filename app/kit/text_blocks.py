"""Join texts that are too short to be sent by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_BLOCK_CHARACTERS = 64 * 1024


def text_blocks(texts: Iterable[str]) -> Iterator[bytes]:
    """Yield the texts in blocks of at least 64 Ki characters, the last one with the rest."""
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= _BLOCK_CHARACTERS:
            yield "".join(block).encode()
            block, size = [], 0
    yield "".join(block).encode()
