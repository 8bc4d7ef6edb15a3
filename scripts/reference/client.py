"""docs/reference/client.md: the Python client, from its signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from scripts.reference.markdown import paragraphs

#: How the coroutines that both faces share put it, and how the blocking face does.
_BLOCKING = {r"\bJ\b": "Job", r"\bAsyncIterator\b": "Iterator", r"\bAsyncJob\b": "Job"}


def page() -> str:
    import dspt_client as package
    from dspt_client import Audit, Client, Job, _exceptions

    module, _, exceptions = (package.__doc__ or "").partition("\n\n")
    example = inspect.cleandoc(exceptions.split("\n\nEvery call")[0])
    with Client("http://service") as client:
        groups = {
            f"client.{name}": type(value)
            for name, value in vars(client).items()
            if not name.startswith("_")
        }
    parts = [
        "# Python client",
        paragraphs(module),
        f"```python\n{inspect.cleandoc(example)}\n```",
        "`AsyncClient` has the same calls, to be awaited; what is iterated over here is iterated "
        "over with `async for` there.",
        *_class("Client", "client", Client),
    ]
    for name, kind in groups.items():
        parts += _class(name, name, kind)
    parts += _class("Job", "job", Job)
    parts += _class("Audit", "audit", Audit)
    tree = inspect.cleandoc(_exceptions.__doc__ or "").split("\n\n")
    parts += ["## Exceptions", tree[0], f"```text\n{tree[1]}\n```", *tree[2:]]
    return "\n\n".join(part for part in parts if part)


def _class(title: str, variable: str, kind: type) -> Iterator[str]:
    yield f"## {title}"
    if title == "Client":
        yield f"```python\n{title}{_signature(kind)}\n```"
        yield paragraphs(kind.__doc__)
    elif not title.startswith("client."):
        yield paragraphs(kind.__doc__)
    for name, member in _members(kind):
        if isinstance(member, property):
            yield f"### `{variable}.{name}`"
            yield paragraphs(member.__doc__)
        else:
            yield f"### `{variable}.{name}()`"
            yield f"```python\n{variable}.{name}{_signature(member)}\n```"
            yield paragraphs(inspect.getdoc(member))


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties, those of our own bases too."""
    seen: set[str] = set()
    for owner in kind.__mro__:
        if not owner.__module__.startswith("dspt_client"):
            continue
        for name, member in vars(owner).items():
            if name.startswith("_") or name in seen or name in ("model_config",):
                continue
            if isinstance(member, property) or inspect.isfunction(member):
                seen.add(name)
                yield name, member


class _AsWritten(str):
    """An annotation without quotes around it."""

    __repr__ = str.__str__


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=_as_written(parameter.annotation))
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]
    answer = _as_written(signature.return_annotation)
    text = str(signature.replace(parameters=parameters, return_annotation=answer))
    text = re.sub(r"<function (\w+) at \w+>", r"\1", text).replace("'", '"')
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
