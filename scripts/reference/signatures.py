"""Signatures of functions as source text."""

from __future__ import annotations

import inspect
import re
from typing import Any

#: How the coroutines that both faces share put it, and how the blocking face does.
_BLOCKING = {r"\bJ\b": "Job", r"\bAsyncIterator\b": "Iterator", r"\bAsyncJob\b": "Job"}


class _AsWritten(str):
    """An annotation without quotes around it."""

    __repr__ = str.__str__


def signature(function: Any) -> str:
    """The parameters and the return type as Markdown shows them, one per line if they are long."""
    found = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=_as_written(parameter.annotation))
        for name, parameter in found.parameters.items()
        if name not in ("self", "cls")
    ]
    answer = _as_written(found.return_annotation)
    text = str(found.replace(parameters=parameters, return_annotation=answer))
    text = re.sub(r"<function (\w+) at \w+>", r"\1", text)
    text = re.sub(r"<function <lambda> at \w+>", "...", text)
    text = text.replace("'", '"')
    return text if len(text) <= 60 else _wrap(text)


def _as_written(annotation: Any) -> Any:
    if not isinstance(annotation, str):
        return annotation
    for pattern, replacement in _BLOCKING.items():
        annotation = re.sub(pattern, replacement, annotation)
    return _AsWritten(annotation)


def _wrap(text: str) -> str:
    """One parameter a line."""
    out, depth = "(\n    ", 1
    for place, character in enumerate(text[1:], 1):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(character, 0)
        if character == ")" and depth == 0:
            return out.rstrip() + ",\n)" + text[place + 1 :]
        out += character
        if character == "," and depth == 1:
            out += "\n   "
    return out
