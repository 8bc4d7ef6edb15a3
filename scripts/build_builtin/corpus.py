"""The text that the student learns from: phrases, each in a few sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from open_clip.tokenizer import SimpleTokenizer

from scripts.build_builtin import words

_T = TypeVar("_T")

PHOTO = "a photo of a {}"
BARE = "{}"
HELD_OUT = 0.02
"""Share of ImageNet-22k's concepts that is held out of the corpus for evaluation."""


@dataclass(frozen=True)
class Sentences:
    """Sentence i is `templates[template[i]].format(phrases[phrase[i]])`."""

    phrases: list[str]
    templates: list[str]
    phrase: NDArray[np.int64]
    template: NDArray[np.int64]

    def texts(self) -> list[str]:
        return [
            self.templates[t].format(self.phrases[p])
            for p, t in zip(self.phrase.tolist(), self.template.tolist(), strict=True)
        ]

    def in_photo(self) -> NDArray[np.int64]:
        """Indices of the sentences "a photo of a ..."."""
        return np.flatnonzero(self.template == self.templates.index(PHOTO))


@dataclass(frozen=True)
class Corpus:
    general: Sentences
    names: Sentences
    """Class names of public data sets in every template; drawn more often than their share."""
    held_out: Sentences
    """Concepts without any word of `general` or `names`, in "a photo of a ..."."""


def build_corpus(
    tokenizer: SimpleTokenizer, vocabulary: Collection[str], seed: int, fraction: float = 1.0
) -> Corpus:
    """Build the corpus. fraction: share of each source to use; below 1 for a trial run."""
    rng = np.random.default_rng(seed)
    templates = words.templates()
    names = _some(words.class_names(), fraction)
    concepts = _some(words.imagenet_22k(), fraction)

    is_held = rng.random(len(concepts)) < HELD_OUT
    in_names = {n.lower() for n in names}
    held = {
        word.lower()
        for (lemmas, _), out in zip(concepts, is_held, strict=True)
        if out
        for word in lemmas
    } - in_names
    nouns = _unique(w for lemmas, _ in concepts for w in lemmas if w.lower() not in held)
    definitions = [d for (_, d), out in zip(concepts, is_held, strict=True) if d and not out]
    common = [w for w in words.caption_words(tokenizer, vocabulary) if w not in held]
    common = _some(common, fraction)

    made = _unique(_compositions(rng, nouns, common, round(32_000 * fraction)))
    cars = _unique(_cars(rng, round(4_000 * fraction)))
    pick = _Picker(rng, templates)
    for phrase in (*nouns, *common):
        pick.add(phrase, BARE, PHOTO, pick.any())
    for phrase in made:
        pick.add(phrase, PHOTO, pick.any() if rng.random() < 0.8 else BARE)
    for phrase in cars:
        pick.add(phrase, PHOTO, pick.any())
    for phrase in definitions:
        pick.add(phrase, BARE)
    general = pick.sentences()

    pick = _Picker(rng, templates)
    for phrase in names:
        pick.add(phrase, *templates)
    pick_held = _Picker(rng, templates)
    for phrase in sorted(held):
        pick_held.add(phrase, PHOTO)
    return Corpus(general, pick.sentences(), pick_held.sentences())


class _Picker:
    def __init__(self, rng: np.random.Generator, templates: list[str]) -> None:
        self._rng = rng
        self._templates = templates
        self._phrases: list[str] = []
        self._rows: list[tuple[int, int]] = []

    def any(self) -> str:
        return self._templates[int(self._rng.integers(len(self._templates)))]

    def add(self, phrase: str, *templates: str) -> None:
        rows = dict.fromkeys(self._templates.index(t) for t in templates)
        self._rows += [(len(self._phrases), t) for t in rows]
        self._phrases.append(phrase)

    def sentences(self) -> Sentences:
        rows = np.array(self._rows, dtype=np.int64).reshape(-1, 2)
        return Sentences(self._phrases, self._templates, rows[:, 0], rows[:, 1])


def _compositions(
    rng: np.random.Generator, nouns: list[str], common: list[str], count: int
) -> list[str]:
    """ "red apple", "old red apple", "apple or pear", "apple and pear"."""

    def one(source: list[str]) -> str:
        return source[int(rng.integers(len(source)))]

    frequent, adjectives = common[:8_000], common[:6_000]
    found = []
    for _ in range(count):
        kind = rng.random()
        if kind < 0.7:
            noun = one(nouns) if rng.random() < 0.6 else one(frequent)
            found.append(f"{one(adjectives)} {noun}")
        elif kind < 0.88:
            found.append(f"{one(adjectives)} {one(adjectives)} {one(frequent)}")
        elif kind < 0.94:
            found.append(f"{one(nouns)} or {one(nouns)}")
        else:
            found.append(f"{one(nouns)} and {one(nouns)}")
    return found


def _cars(rng: np.random.Generator, count: int) -> list[str]:
    def one(source: list[str]) -> str:
        return source[int(rng.integers(len(source)))]

    makes, models, bodies = words.cars()
    found = []
    for _ in range(count):
        car = f"{one(makes)} {one(models)} {one(bodies)}"
        year = int(rng.integers(1990, 2025))
        found.append(f"{year} {car}" if rng.random() < 0.5 else f"{car} {year}")
    return found


def _some(items: list[_T], fraction: float) -> list[_T]:
    return items if fraction >= 1 else items[:: round(1 / fraction)]


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
