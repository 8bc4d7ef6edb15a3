"""The examples of a Markdown file, run as a reader would: one after the other, in one shell.

Blocks marked `sh` and `python` are run; a comment before a block, `<!-- not run: why -->`, leaves
it out. A block marked `text` or `json` right behind one that is run shows what it prints. Of
text the words have to be the same: numbers, ids, times, the rows of tables and the breaks of lines
may be others, and `...` matches any words. JSON has to have the same keys.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.acceptance.forked import MARK

_FENCE = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]*) -->\n+)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
#: What is another one each time: ids, times, hosts, numbers with their units, paths of classes.
_VARIES = re.compile(r"\b(?:job|mdl|ds|als|key)_[0-9a-z]{26}\b|\d[\d:.,%TZ-]*(?: ?[KMG]i?B)?")
#: A number of epochs: the tests tune for fewer.
_EPOCHS = re.compile(r"""(epochs[=": ]+)\d+""")
#: Rows and frames of tables, and lines about a photo: whose they are depends on the photos.
_ROW = re.compile(
    r"[│┏┡└├]|\d+ +\S+/|\S+\.(?:jpe?g|png)\b"
    r"|(?:job|mdl|key)_\S+  |\d+  \d{4}-|\S+  mdl_"  # of tables without frames
)
_ROWS = "(rows)"


@dataclass
class Example:
    """A block that is run, and the one behind it that shows what it prints."""

    line: int
    kind: str
    text: str
    shown: str = ""
    shown_as: str = ""


def examples(document: str) -> list[Example]:
    """The blocks to run, in their order. Raises ValueError for an unknown kind."""
    found: list[Example] = []
    end: int | None = None  # of a block that is run, as long as nothing else came
    for match in _FENCE.finditer(document):
        line = document.count("\n", 0, match.start("text"))
        kind, text = match["kind"], match["text"]
        if kind in ("text", "json"):
            if end is not None and not document[end : match.start()].strip():
                found[-1].shown, found[-1].shown_as = text, kind
        elif kind not in ("sh", "python"):
            raise ValueError(f"line {line}: is this block {kind or 'without a kind'} to be run?")
        elif match["why"] is None:
            found.append(Example(line, kind, text))
            end = match.end()
            continue
        end = None
    return found


def with_few_epochs(text: str) -> str:
    """The document, or an example, whose jobs tune for three epochs."""
    return _EPOCHS.sub(r"\g<1>3", text)


def run(
    found: list[Example], folder: Path, commands: Path, environment: Mapping[str, str]
) -> list[str]:
    """What each example prints, run by one bash in `folder`; AssertionError for one that fails.

    commands: the folder of `forked_commands`.
    """
    lines = ["set -euo pipefail"]
    for kind, group in groupby(enumerate(found), lambda numbered: numbered[1].kind):
        if kind == "python":
            files = []
            for number, example in group:
                files.append(f"example-{number}.py")
                (folder / files[-1]).write_text(example.text)
            lines.append(f"run_files {' '.join(files)}")
        else:
            lines += [f"printf '{MARK}'\n{example.text}" for _, example in group]
    script = folder / "examples.sh"
    script.write_text("\n".join(lines))
    done = subprocess.run(
        ["bash", script],
        cwd=folder,
        env={**environment, "PATH": f"{commands}{os.pathsep}{environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    printed = done.stdout.split(MARK)[1:]
    at = found[len(printed) - 1]
    assert done.returncode == 0, f"line {at.line}:\n{at.text}{printed[-1]}{done.stderr}"
    return printed


def differences(example: Example, printed: str) -> Iterator[str]:
    """Where the block shown is not what was printed."""
    if example.shown_as == "json":
        yield from _keys(json.loads(example.shown), json.loads(printed), "")
        return
    shown, there = _words(example.shown), _words(printed)
    pattern = " ".join(re.escape(shown).split("\\ ")).replace(r"\.\.\.", ".*")
    if not re.fullmatch(pattern.replace(" .* ", " (.* )?").replace(" .*", ".*"), there):
        yield f"printed is {there!r}, shown {shown!r}"


def _words(text: str) -> str:
    """What is to be the same: the words, wherever lines break, and that there are rows or none."""
    words: list[str] = []
    for line in text.splitlines():
        if _ROW.match(line.strip()):
            if words[-1:] != [_ROWS]:
                words.append(_ROWS)
        else:
            words += _VARIES.sub("#", line).replace("┃", " ").split()
    return " ".join(words)


def _keys(shown: Any, printed: Any, where: str) -> Iterator[str]:
    if isinstance(shown, dict) and isinstance(printed, dict):
        for key, value in shown.items():
            if key not in printed:
                yield f"{where}.{key} is shown, but not printed"
            else:
                yield from _keys(value, printed[key], f"{where}.{key}")
    elif isinstance(shown, list) and isinstance(printed, list):
        if shown and not printed:
            yield f"{where} is empty"
        elif shown:
            yield from _keys(shown[0], printed[0], f"{where}[0]")
    elif type(shown) is not type(printed):
        yield f"{where} is {printed!r}, which is not like {shown!r}"
