"""Data sets of any number of classes, drawn from those at hand: all classes of all data sets, and
the first of them in a random order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.noise_robustness.datasets import LIMITS, Listing
from dspt.data import Item
from dspt.data.source import Source
from dspt.errors import ConfigError

_SEED = 1
"""Of the order of the classes. A smaller number of classes is part of a larger one."""


class _Joined(Source[tuple[Source[Any], str]]):
    """Files of several sources, which are closed apart."""

    def _read(self, path: str, handle: tuple[Source[Any], str]) -> bytes:
        source, own_path = handle
        return source.read(own_path)

    def close(self) -> None:
        return None


def draw_classes(sets: Sequence[Listing], count: int) -> Listing:
    """Return a data set of `count` classes of `sets`; names start with that of their data set.

    Raises ConfigError if there are fewer classes, or two of the same name.
    """
    classes = [(data, label) for data in sets for label in range(len(data.classes))]
    names = [f"{data.name}/{data.classes[label]}" for data, label in classes]
    words = [data.class_words[label] for data, label in classes]
    (word, times), *_ = Counter(map(str.casefold, words)).most_common()
    if times > 1:
        raise ConfigError(f"--classes: more than one data set has the class {word!r}")
    if count > len(classes):
        raise ConfigError(f"--classes {count}: the data sets have {len(classes)} classes")
    order = np.random.default_rng(_SEED).permutation(len(classes))[:count]
    new_labels = {(classes[at][0].name, classes[at][1]): new for new, at in enumerate(order)}
    files = {
        f"{data.name}/{item.path}": (data, item, new_labels[data.name, item.label])
        for data in sets
        for item in data.items
        if (data.name, item.label) in new_labels
    }
    members = {path: (data.source, item.path) for path, (data, item, _) in files.items()}
    return Listing(
        name=f"{count}-classes",
        classes=tuple(names[at] for at in order),
        class_words=tuple(words[at] for at in order),
        items=tuple(Item(path, new, item.split) for path, (_, item, new) in files.items()),
        source=_Joined(members, (), LIMITS),
        hashes={
            path: data.hashes[item.path]
            for path, (data, item, _) in files.items()
            if item.path in data.hashes
        },
    )
