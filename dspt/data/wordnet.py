"""Translate WordNet ids such as `n02690373`, the class folders of ImageNet and its subsets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

_ID = re.compile(r"n\d{8}")
_TABLE = "data/_info/imagenet_synset_to_lemma.txt"
"""Within timm: 21,844 lines of an id, a tab and its words, separated by commas."""


def is_wordnet_id(name: str) -> bool:
    """Return whether `name` has the form of a WordNet id of a noun."""
    return _ID.fullmatch(name) is not None


def wordnet_words(names: Iterable[str]) -> dict[str, str]:
    """Return the words of those `names` that are WordNet ids known to timm.

    The first word, such as `airliner`, or all of them where ids share the first one. Ids that share
    all words, such as both of ImageNet's cranes, are not translated.
    """
    wanted = {name for name in names if is_wordnet_id(name)}
    spec = find_spec("timm") if wanted else None  # does not import it, which would import torch
    lemmas: dict[str, str] = {}
    for folder in (spec and spec.submodule_search_locations) or ():
        if (table := Path(folder, _TABLE)).is_file():
            for line in table.read_text("utf-8").splitlines():
                name, _, words = line.partition("\t")
                if name in wanted:
                    lemmas[name] = words
    first = _unique({name: words.partition(",")[0] for name, words in lemmas.items()})
    return {name: first.get(name, words) for name, words in _unique(lemmas).items()}


def _unique(words: Mapping[str, str]) -> dict[str, str]:
    """Return the entries whose words no other entry has."""
    count = Counter(text.casefold() for text in words.values())
    return {name: text for name, text in words.items() if count[text.casefold()] == 1}
