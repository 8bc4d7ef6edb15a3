"""docs/reference/library.md: the public names of `import dspt`, from signatures and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from scripts.reference.markdown import code, paragraphs, table
from scripts.reference.signatures import signature


def page() -> str:
    import dspt
    from dspt import errors
    from dspt.data import Dataset
    from dspt.estimator import Suspect
    from dspt.labels.audit import AuditEntry, AuditReport
    from dspt.labels.noise_rate import NoiseRate
    from dspt.model.artifact import TunedModel
    from dspt.pipeline import TuneResult

    parts = [
        "# Python library",
        "The names that `import dspt` provides, and the types that they return. "
        "[Ten minutes with the library](../library.md) shows them in use.",
    ]
    for function in (
        dspt.load_dataset,
        dspt.tune,
        dspt.audit,
        dspt.audit_probabilities,
        dspt.load_backbone,
        dspt.dspt_loss,
    ):
        parts += _function(f"dspt.{function.__name__}", function)
    parts += _class(dspt.TuneConfig, "dspt.TuneConfig", _settings(dspt.TuneConfig))
    parts += _class(dspt.DSPTClassifier, "dspt.DSPTClassifier")
    parts += _class(dspt.ImageClassifier, "dspt.ImageClassifier")
    for kind in (Dataset, TuneResult, TunedModel, AuditReport, AuditEntry, NoiseRate, Suspect):
        parts += _class(kind, kind.__name__)
    parts += ["## dspt.losses", paragraphs((dspt.losses.__doc__ or "").split("\n\n")[0])]
    for name in ("per_sample_loss", "gradient", "suppression"):
        parts += _function(f"dspt.losses.{name}", getattr(dspt.losses, name), level=3)
    tree = [part for part in (errors.__doc__ or "").split("\n\n") if "──" in part]
    parts += ["## Errors", *(f"```text\n{part}\n```" for part in tree)]
    return "\n\n".join(part for part in parts if part)


def _function(title: str, function: Any, *, level: int = 2) -> Iterator[str]:
    yield f"{'#' * level} `{title}()`"
    yield f"```python\n{title}{signature(function)}\n```"
    yield paragraphs(inspect.getdoc(function))


def _class(kind: type, title: str, fields: str = "") -> Iterator[str]:
    yield f"## {title}"
    bases = kind.__mro__[:-1]  # without object
    names = {base.__name__ for base in bases}
    if any("__init__" in vars(base) for base in bases) and "BaseModel" not in names:
        yield f"```python\n{title}{signature(kind)}\n```"
    yield paragraphs(inspect.getdoc(kind))
    yield fields
    for name, member in _methods(kind):
        if isinstance(member, property):
            yield f"### `{kind.__name__}.{name}`"
            yield paragraphs(inspect.getdoc(member))
        else:
            yield from _function(f"{kind.__name__}.{name}", member, level=3)


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that dspt defines and documents, those of its bases too."""
    seen: set[str] = set()
    for owner in kind.__mro__:
        if not owner.__module__.startswith("dspt"):
            continue
        for name, value in vars(owner).items():
            member = value.__func__ if isinstance(value, classmethod) else value
            documented = isinstance(member, property) or inspect.isfunction(member)
            if documented and member.__doc__ and not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, member


def _settings(config: Any) -> str:
    return table(
        ("setting", "default", "meaning"),
        [
            (code(name), code(field.default), field.description or "")
            for name, field in config.model_fields.items()
        ],
    )
