"""docs/reference/client.md: the Python client, from its signatures and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from scripts.reference.markdown import paragraphs
from scripts.reference.signatures import signature


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
        yield f"```python\n{title}{signature(kind)}\n```"
        yield paragraphs(kind.__doc__)
    elif not title.startswith("client."):
        yield paragraphs(kind.__doc__)
    for name, member in _members(kind):
        if isinstance(member, property):
            yield f"### `{variable}.{name}`"
            yield paragraphs(member.__doc__)
        else:
            yield f"### `{variable}.{name}()`"
            yield f"```python\n{variable}.{name}{signature(member)}\n```"
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
