"""Data sets of any number of classes, drawn from those at hand: all classes of all data sets, and
the first of them in a random order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.noise_robustness.encode import EncodedSet, Features
from benchmarks.skeleton.records import key_of
from dspt.errors import ConfigError

_SEED = 1
"""Of the order of the classes. A smaller number of classes is part of a larger one."""


def draw_classes(sets: Sequence[EncodedSet], count: int, file: Path) -> EncodedSet:
    """Return a data set of `count` classes of `sets`, its features in `file`.

    Raises ConfigError if there are fewer classes, or two of the same name.
    """
    whole = _merged(sets, file)
    if count > len(whole.classes):
        raise ConfigError(f"--classes {count}: the data sets have {len(whole.classes)} classes")
    chosen = np.random.default_rng(_SEED).permutation(len(whole.classes))[:count]
    number = np.full(len(whole.classes), -1)
    number[chosen] = np.arange(count)

    features = Features.load(file, torch.device("cpu"))
    rows, test_labels = number[whole.labels] >= 0, torch.from_numpy(number)[features.test_labels]
    position, test = np.cumsum(rows) - 1, test_labels >= 0
    train = features.train[torch.from_numpy(rows)]
    save_file({"train": train, "test": features.test[test], "test_labels": test_labels[test]}, file)
    classes = tuple(whole.classes[k] for k in chosen)
    return replace(
        whole,
        name=f"{count}-classes",
        classes=classes,
        class_words=tuple(whole.class_words[k] for k in chosen),
        sha256=key_of({"of": whole.sha256, "classes": classes}),
        test_sha256=key_of({"of": whole.test_sha256, "classes": classes}),
        n_test=int(test.sum()),
        files=tuple(name for name, kept in zip(whole.files, rows, strict=True) if kept),
        hashes=tuple(sha for sha, kept in zip(whole.hashes, rows, strict=True) if kept),
        labels=number[whole.labels][rows],
        samples={key: position[drawn[rows[drawn]]] for key, drawn in whole.samples.items()},
    )


def _merged(sets: Sequence[EncodedSet], file: Path) -> EncodedSet:
    words = [word.casefold() for data in sets for word in data.class_words]
    if twice := sorted({word for word in words if words.count(word) > 1}):
        raise ConfigError(f"--classes: more than one data set has the class {twice[0]!r}")
    parts = [Features.load(data.file, torch.device("cpu")) for data in sets]
    first_class = np.cumsum([0, *(len(data.classes) for data in sets)])
    first_row = np.cumsum([0, *(len(data.files) for data in sets)])
    test_labels = [
        part.test_labels + int(k) for part, k in zip(parts, first_class[:-1], strict=True)
    ]
    save_file(
        {
            "train": torch.cat([part.train for part in parts]),
            "test": torch.cat([part.test for part in parts]),
            "test_labels": torch.cat(test_labels),
        },
        file,
    )
    return EncodedSet(
        name="",
        classes=tuple(f"{data.name}/{name}" for data in sets for name in data.classes),
        class_words=tuple(word for data in sets for word in data.class_words),
        sha256=key_of({"of": [data.sha256 for data in sets]}),
        test_sha256=key_of({"of": [data.test_sha256 for data in sets]}),
        n_test=sum(data.n_test for data in sets),
        files=tuple(f"{data.name}/{name}" for data in sets for name in data.files),
        hashes=tuple(sha for data in sets for sha in data.hashes),
        labels=np.concatenate(
            [data.labels + k for data, k in zip(sets, first_class[:-1], strict=True)]
        ),
        samples={
            key: np.concatenate(
                [data.samples[key] + row for data, row in zip(sets, first_row[:-1], strict=True)]
            )
            for key in sets[0].samples
        },
        file=file,
    )
