"""Training batches: natural sentences, names of public classes, and names after random contexts.

The random contexts (random tokens, pieces of other sentences, Gaussian vectors) keep the tower
useful when prompt tuning moves the context away from words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from scripts.build_builtin.corpus import Corpus, Sentences
from scripts.build_builtin.student import END, START

BATCH = 384
_LONGEST = 40
_LONGEST_NAME = 14
_KINDS = {"general": 0.50, "names": 0.12, "context": 0.38}
_CONTEXT_LENGTHS = {2: 0.10, 4: 0.40, 8: 0.10, 16: 0.35, 48: 0.05}
_VECTOR_SIZES = (0.3, 0.7, 1.0, 2.0)
"""Standard deviations of Gaussian context vectors, in units of the token embeddings' own."""


@dataclass(frozen=True)
class Batch:
    ids: Tensor
    """(B, L), zeros after the end token."""
    end: Tensor
    """(B,) index of the end token."""
    targets: Tensor
    """(B, 512)"""
    vectors: tuple[int, float] | None
    """Replace this many tokens after the start by Gaussian vectors of this relative size."""


class Batches:
    """An endless, seeded stream."""

    def __init__(
        self,
        corpus: Corpus,
        general: Tensor,
        names: Tensor,
        tokenizer: SimpleTokenizer,
        seed: int,
    ) -> None:
        """general, names: targets of the corpus's sentences, in their order."""
        self._rng = np.random.default_rng(seed)
        self._general, self._names = general, names
        self._general_ids = _encode(corpus.general.texts(), tokenizer)
        self._name_ids = _encode(corpus.names.texts(), tokenizer)
        self._named = (_Named(corpus.general, tokenizer), _Named(corpus.names, tokenizer))
        self._words = [
            i for ids in self._general_ids[:: max(1, len(general) // 5_000)] for i in ids
        ]
        self._photo = tokenizer.encode("a photo of a")
        self._stop = tokenizer.encode(".")
        self._queue: list[NDArray[np.int64]] = []

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        kind = str(self._rng.choice(list(_KINDS), p=list(_KINDS.values())))
        if kind == "general":
            rows = self._next_general()
            return _batch([self._general_ids[i] for i in rows], self._general[rows])
        if kind == "names":
            rows = self._rng.integers(len(self._name_ids), size=BATCH)
            return _batch([self._name_ids[i] for i in rows], self._names[rows])
        return self._context_batch()

    def _next_general(self) -> NDArray[np.int64]:
        """A batch of sentences of about the same length, each once per pass."""
        if not self._queue:
            order = self._rng.permutation(len(self._general_ids))
            for at in range(0, len(order), 8 * BATCH):
                run = sorted(order[at : at + 8 * BATCH], key=lambda i: len(self._general_ids[i]))
                self._queue += [np.array(run[j : j + BATCH]) for j in range(0, len(run), BATCH)]
            whole = [rows for rows in self._queue if len(rows) == BATCH]
            self._queue = whole or self._queue
            self._rng.shuffle(self._queue)
        return self._queue.pop()

    def _context_batch(self) -> Batch:
        n = int(self._rng.choice(list(_CONTEXT_LENGTHS), p=list(_CONTEXT_LENGTHS.values())))
        size = BATCH if n <= 16 else BATCH // 3
        public = self._rng.random() < 0.2
        source, targets = (
            (self._named[1], self._names) if public else (self._named[0], self._general)
        )
        picked = self._rng.integers(len(source.ids), size=size)
        prompts = []
        for i in picked:
            stop = self._stop if self._rng.random() < 0.6 else []
            prompts.append([*self._context(n), *source.ids[i][:_LONGEST_NAME], *stop])
        vectors = None
        if self._rng.random() < 0.5:
            vectors = (n, float(self._rng.choice(_VECTOR_SIZES)))
        return _batch(prompts, targets[source.rows[picked]], vectors, longest=75)

    def _context(self, n: int) -> list[int]:
        """n token ids: random ones, a piece of text, or something before "a photo of a"."""
        if n >= len(self._photo) and self._rng.random() < 0.2:
            return [*self._filler(n - len(self._photo)), *self._photo]
        return self._filler(n)

    def _filler(self, n: int) -> list[int]:
        chance = self._rng.random()
        if chance < 0.5:
            return [int(i) for i in self._rng.integers(300, START - 1, size=n)]
        if chance < 0.8:
            return [int(i) for i in self._rng.integers(300, 6_000, size=n)]
        at = int(self._rng.integers(max(1, len(self._words) - n)))
        return self._words[at : at + n]


class _Named:
    """The phrases of the sentences "a photo of a ..."."""

    def __init__(self, sentences: Sentences, tokenizer: SimpleTokenizer) -> None:
        self.rows = sentences.in_photo()
        phrases = [sentences.phrases[p] for p in sentences.phrase[self.rows].tolist()]
        self.ids = _encode(phrases, tokenizer)


def _encode(texts: list[str], tokenizer: SimpleTokenizer) -> list[list[int]]:
    return [tokenizer.encode(text) for text in texts]


def _batch(
    prompts: list[list[int]],
    targets: Tensor,
    vectors: tuple[int, float] | None = None,
    longest: int = _LONGEST,
) -> Batch:
    ids, end = frame(prompts, longest)
    return Batch(ids, end, targets, vectors)


def frame(prompts: list[list[int]], longest: int = 75) -> tuple[Tensor, Tensor]:
    """Add start and end tokens: returns ids (B, L) and the index of each end token."""
    framed = [[START, *p[:longest], END] for p in prompts]
    ids = torch.zeros(len(framed), max(map(len, framed)), dtype=torch.long)
    for row, prompt in zip(ids, framed, strict=True):
        row[: len(prompt)] = torch.tensor(prompt)
    return ids, torch.tensor([len(p) - 1 for p in framed])
