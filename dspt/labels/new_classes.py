"""Classes that corrections add to a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dspt.data.class_words import class_words, words_of
from dspt.data.findings import Findings
from dspt.data.hostile.limits import Limits
from dspt.data.names import confusable_key, natural_key
from dspt.data.split_names import SPLITS
from dspt.kit.text import printable

if TYPE_CHECKING:
    from dspt.data.dataset import Dataset


def words_of_new(
    new: Mapping[str, str | None],
    classes: Sequence[str],
    words: Mapping[str, str],
    findings: Findings,
) -> dict[str, str]:
    """Return the words of each new class, in natural order; problems go to `findings`.

    words: those of `classes` that are not the words of the name.
    """
    if not new:
        return {}
    if len(classes) + len(new) > (most := Limits().max_classes):
        findings.problem("", "too_many_classes", f"at most {most:,} classes are allowed")
        return {}
    known = {confusable_key(words_of(name)): name for name in classes}
    names = []
    for name in sorted(new, key=natural_key):
        if there := known.get(confusable_key(words_of(name))):
            message = f"not a new class: the data set has the class {printable(there)!r}"
            findings.problem(printable(name), "class_exists", message)
        elif not name or name != name.strip() or "/" in name:
            message = (
                "the name of a class must not be empty, contain /, or begin or end with a space"
            )
            findings.problem(printable(name), "invalid_class", message)
        else:
            names.append(name)
    given = {name: text for name in names if (text := new[name]) is not None}
    own = {name: words.get(name, words_of(name)) for name in classes}
    found = class_words([*classes, *names], own | given, findings)
    return dict(zip(names, found[len(classes) :], strict=True))


def warnings_of_new(
    new: Mapping[str, str], relabel: Mapping[str, str], dataset: Dataset
) -> list[str]:
    """Return warnings of new classes with a single image, and without images to measure on.

    relabel: file -> its corrected class; dataset: before the corrections.
    """
    images = Counter(relabel.values())
    parts = {item.split for item in dataset.items} - {"train"}
    found = []
    for name in new:
        if images[name] == 1:
            found.append(
                f"{printable(name)} has a single image; add more images, the result depends on "
                "this single one"
            )
        found += [
            f"{printable(name)} has no images in {part}, so it is not measured"
            for part in SPLITS
            if part in parts
        ]
    return found
