"""Find jobs and models by the beginning of their id, or by name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from app.commands._service import WRONG_USE, end

if TYPE_CHECKING:
    from dspt_client import Client
    from dspt_client.schemas.models import AliasHistory

_ID = re.compile(r"(bat|cmp|job|mdl|ds)_[0-9a-z]{26}")
#: Candidates that an error lists.
_SHOWN = 5
_WORDS = {"dataset": "data set"}
_PLURALS = {"batch": "batches"}


class _Named(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class _Uploaded:
    """A data set, which has the name of its file."""

    id: str
    name: str


def job_id(client: Client, text: str) -> str:
    """Return the id of the job with this id, beginning of an id, or name. Exits if not unique."""
    if _ID.fullmatch(text):
        return text
    return _the_only(text, "job", (job.view for job in client.jobs.list()))


def batch_id(client: Client, text: str) -> str:
    """Return the same for a batch."""
    return text if _ID.fullmatch(text) else _the_only(text, "batch", client.batches.list())


def comparison_id(client: Client, text: str) -> str:
    """Return the same for a comparison."""
    if _ID.fullmatch(text):
        return text
    return _the_only(text, "comparison", client.comparisons.list())


def dataset_id(client: Client, text: str) -> str:
    """Return the same for a data set, by its id or file name. Exits if not unique."""
    if _ID.fullmatch(text):
        return text
    return _the_only(text, "dataset", (_Uploaded(d.id, d.filename) for d in client.datasets.list()))


def model_id(client: Client, text: str) -> str:
    """Return the same for a model, or the one that an alias points to. Exits if not unique."""
    alias = None if _ID.fullmatch(text) else _alias(client, text)
    return alias.model_id if alias else _model_id(client, text)


def model_or_alias(client: Client, text: str) -> str:
    """Return the same, but an alias as it is: the service resolves it with each request."""
    return text if _ID.fullmatch(text) or _alias(client, text) else _model_id(client, text)


def _model_id(client: Client, text: str) -> str:
    return text if _ID.fullmatch(text) else _the_only(text, "model", client.models.list())


def _alias(client: Client, text: str) -> AliasHistory | None:
    from dspt_client import NotFound, Unprocessable

    try:
        return client.aliases.get(text, limit=1)
    except (NotFound, Unprocessable):  # not a possible name of an alias
        return None


def _the_only(text: str, kind: str, items: Iterable[_Named]) -> str:
    found = [item for item in items if _matches(item, text)]
    if len(found) == 1:
        return found[0].id
    if not found:
        named = {"model": "id, name or alias", "dataset": "id or file name"}.get(kind, "id or name")
        raise end(
            f"There is no {_WORDS.get(kind, kind)} {text!r}: no {named} matches. "
            f"dspt {_PLURALS.get(kind, f'{kind}s')} list shows all.",
            WRONG_USE,
        )
    shown = [f"  {item.id}  {item.name}" for item in found[:_SHOWN]]
    if len(found) > _SHOWN:
        shown.append(f"  and {len(found) - _SHOWN} more")
    kinds = _PLURALS.get(kind, f"{_WORDS.get(kind, kind)}s")
    raise end(f"{text!r} matches {len(found)} {kinds}; use more of the id:", WRONG_USE, shown)


def _matches(item: _Named, text: str) -> bool:
    # The part that all ids of a kind share is the beginning of none in particular.
    return item.name == text or (
        len(text) > len(item.id.partition("_")[0]) + 1 and item.id.startswith(text)
    )
