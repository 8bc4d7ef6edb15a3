"""Words of each class in the prompt, from its folder or from the user."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from dspt.data.findings import Findings
from dspt.data.names import confusable_key, find_invisible, look_alike_key
from dspt.data.wordnet import is_wordnet_id, wordnet_words
from dspt.kit.text import listed, printable

MAX_CHARACTERS = 200
_NAMES_SHOWN = 5
_WORDNET_SHOWN = 3
_CODE = re.compile(
    r"(class|category|label|type|group|cluster|folder|item|object|species|id|cls|c|klasse|classe)?"
    r"[ ]?\d+|\w|[^\W\d]{1,2} ?\d+|(?=\w*\d)[0-9a-f]{6,}",
    re.IGNORECASE,
)
"""Words that describe nothing, such as `class 3`, `B`, `c07` or `3fa9c1`."""


def words_of(folder: str) -> str:
    """Return the words of a folder name: `Red_Fox-2` -> `Red Fox 2`."""
    return " ".join(folder.replace("_", " ").replace("-", " ").split())


def is_code(words: str) -> bool:
    """Return whether words of a class are a number or a code, so they describe nothing.

    A name in a language that the model does not know cannot be told from its form.
    """
    return is_wordnet_id(words) or (words.isascii() and _CODE.fullmatch(words) is not None)


def class_words(
    folders: Sequence[str],
    given: Mapping[str, str] | None,
    findings: Findings,
    *,
    ignored: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the words of each class folder, in the same order; `given` (folder -> words) wins.

    Reports words that are missing, only digits, too long or not text; names and words with control
    or invisible characters; folders in `given` that do not exist; and folders whose words look the
    same, ignoring case. Words for the folders in `ignored` are not a problem. Warns of words that
    look the same in different alphabets. WordNet ids are translated, with a warning.
    """
    if given is not None and not isinstance(given, Mapping):
        findings.problem("class_names", "invalid_class_names", "must map each folder to its words")
        given = None
    invalid = _check_names(folders, findings)
    by_folder: dict[str, object] = {}
    known = set(folders)
    for folder, words in (given or {}).items():
        name = unicodedata.normalize("NFC", folder) if isinstance(folder, str) else str(folder)
        if name in known:
            by_folder[name] = words
        elif name not in ignored:
            findings.problem(
                printable(name),
                "unknown_class_name",
                "class_names has words for this class, but the class folder does not exist",
            )
    translated = _translate(folders, by_folder, findings)
    result = []
    for folder in folders:
        if folder in translated:
            result.append(_checked(folder, translated[folder], "WordNet", findings))
        elif folder in by_folder:
            result.append(_given_words(folder, by_folder[folder], findings))
        else:
            result.append("" if folder in invalid else _folder_words(folder, findings))
    _check_distinct_words(folders, result, findings)
    return tuple(result)


def _translate(
    folders: Sequence[str], given: Collection[str], findings: Findings
) -> dict[str, str]:
    """Return the words of folders that are WordNet ids, except those with `given` words."""
    found = wordnet_words(folder for folder in folders if folder not in given)
    if found:
        examples = listed([*found], _WORDNET_SHOWN, lambda name: f"{name} is {found[name]!r}")
        findings.warning(
            "wordnet",
            "class folders are WordNet ids; their words in the prompt are those of WordNet: "
            f"{examples}; class_names replaces them",
        )
    return found


def _check_names(folders: Sequence[str], findings: Findings) -> set[str]:
    # A label in a table can be a string that is not possible as a folder name.
    invalid = {}
    for folder in folders:
        if hidden := find_invisible(folder):
            invalid[folder] = f"the name of the class contains {hidden}"
        elif len(folder) > MAX_CHARACTERS:
            invalid[folder] = f"the name of the class is longer than {MAX_CHARACTERS} characters"
    for folder, why in invalid.items():
        findings.problem(printable(folder), "invalid_class", why)
    return set(invalid)


def _given_words(folder: str, words: object, findings: Findings) -> str:
    if not isinstance(words, str):
        findings.problem(
            printable(folder), "invalid_class_words", "class_names must give text for this class"
        )
        return ""
    text = " ".join(part for part in words.split(" ") if part)
    return _checked(folder, unicodedata.normalize("NFC", text), "class_names", findings)


def _folder_words(folder: str, findings: Findings) -> str:
    words = words_of(folder)
    if words and not any(c.isalpha() for c in words) and any(c.isnumeric() for c in words):
        findings.problem(
            printable(folder),
            "numeric_class",
            "the class is only a number, which has no meaning for the model; rename the folder or "
            f'give its words in class_names, for example {{"{folder}": "red fox"}}',
        )
        return words
    return _checked(folder, words, "the folder", findings)


def _checked(folder: str, words: str, origin: str, findings: Findings) -> str:
    if hidden := find_invisible(words):
        why = f"contain {hidden}"
    elif not any(c.isalnum() or unicodedata.category(c) == "So" for c in words):
        why = "are empty"
    elif len(words) > MAX_CHARACTERS:
        why = f"are longer than {MAX_CHARACTERS} characters"
    else:
        return words
    findings.problem(
        printable(folder),
        "invalid_class_words",
        f"the words from {origin} for this class {why}",
    )
    return ""


def _check_distinct_words(folders: Sequence[str], words: Sequence[str], findings: Findings) -> None:
    same: dict[str, list[str]] = defaultdict(list)
    alike: dict[str, dict[str, str]] = defaultdict(dict)
    for folder, text in zip(folders, words, strict=True):
        if text:
            key = confusable_key(words_of(text))
            same[key].append(folder)
            alike[look_alike_key(words_of(text))].setdefault(key, folder)
    for text, names in same.items():
        if len(names) > 1:
            listed = " and ".join(repr(printable(n)) for n in names[:_NAMES_SHOWN])
            listed += f" and {len(names) - _NAMES_SHOWN:,} more" if names[_NAMES_SHOWN:] else ""
            findings.problem(
                printable(names[0]),
                "same_class_words",
                f"the classes {listed} have the same words ({printable(text)!r}); merge them, or "
                "give different words in class_names",
            )
    for twins in alike.values():
        if len(twins) > 1:
            listed = " and ".join(
                repr(printable(name)) for name in [*twins.values()][:_NAMES_SHOWN]
            )
            findings.warning(
                "look_alike",
                f"the classes {listed} look the same, but their letters are of different "
                "alphabets, such as Latin and Cyrillic; merge them if they are one class",
            )
