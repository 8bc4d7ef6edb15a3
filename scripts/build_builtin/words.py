"""Word lists, from packages and from the files in this folder; no data set is read."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from open_clip.tokenizer import SimpleTokenizer
from timm.data.imagenet_info import ImageNetInfo

_FOLDER = Path(__file__).parent / "words"
_WORD_END = "</w>"


def imagenet_1k() -> list[list[str]]:
    """The words of each of the 1000 classes, in the classifier's order."""
    return [_split(text) for text in ImageNetInfo("imagenet-1k").label_descriptions()]


def imagenet_22k() -> list[tuple[list[str], str]]:
    """(words, definition) of each of WordNet's 21,841 visual concepts, as timm ships them."""
    info = ImageNetInfo("imagenet-22k")
    found = []
    for short, long in zip(
        info.label_descriptions(), info.label_descriptions(detailed=True), strict=True
    ):
        definition = long[len(short) + 2 :].split(";")[0][:120]
        found.append((_split(short), definition))
    return found


def caption_words(tokenizer: SimpleTokenizer, vocabulary: Collection[str]) -> list[str]:
    """Whole words of CLIP's byte-pair vocabulary, the most frequent in captions first.

    Only those of three letters and more that are whole words to the teacher too.
    """
    whole = (t.removesuffix(_WORD_END) for t in tokenizer.encoder if t.endswith(_WORD_END))
    return [w for w in whole if re.fullmatch(r"[a-z]{3,}", w) and w in vocabulary]


def token_strings(tokenizer: SimpleTokenizer) -> list[str]:
    """Return the text of each token id; a full stop where it is not valid text."""
    found = []
    for i in range(len(tokenizer.encoder)):
        raw = tokenizer.decoder[i].replace(_WORD_END, " ").strip()
        data = bytearray(tokenizer.byte_decoder.get(c, 32) for c in raw)
        found.append(data.decode("utf-8", errors="replace") or ".")
    return found


def class_names() -> list[str]:
    """Class names of well-known public data sets."""
    return _lines("class_names.txt")


def cars() -> tuple[list[str], list[str], list[str]]:
    """Makes, models and body styles."""
    return _lines("car_makes.txt"), _lines("car_models.txt"), _lines("car_bodies.txt")


def templates() -> list[str]:
    """Sentences with a gap for the class name; the bare name comes first."""
    return _lines("templates.txt")


def _lines(name: str) -> list[str]:
    lines = (_FOLDER / name).read_text("utf-8").splitlines()
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def _split(lemmas: str) -> list[str]:
    return [word.strip() for word in lemmas.split(",")]
