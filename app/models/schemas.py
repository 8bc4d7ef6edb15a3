"""Schemas of tuned classifiers and aliases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from dspt_client.schemas.models import AliasHistory, AliasMoveView, AliasView, Drift, ModelView
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.kit.control_characters import cleaned
from app.kit.ids import is_id
from app.kit.metadata import Metadata
from dspt.kit.text_pattern import TextPattern

if TYPE_CHECKING:
    from sqlalchemy import Row

    from app.tables.models import AliasMove, Model, ModelAlias


def view(
    model: Model | Row[Any], aliases: Sequence[str] = (), drift: Drift | None = None
) -> ModelView:
    """Return the view of a model, or of its columns; `aliases` point to it."""
    base = f"/models/{model.id}"
    links = {"self": base, "artifact": f"{base}/artifact", "card": f"{base}/card"}
    if model.job_id is not None:
        links["job"] = f"/jobs/{model.job_id}"
    columns = {key: getattr(model, key) for key in _COLUMNS}
    more = {"aliases": list(aliases), "links": links, "metadata": model.user_metadata or {}}
    return ModelView.model_validate({**columns, **more, "drift": drift})


_NO_COLUMNS = ("object", "aliases", "drift", "links", "metadata")
_COLUMNS = tuple(key for key in ModelView.model_fields if key not in _NO_COLUMNS)


def not_an_id(alias: str) -> str:
    """Return the alias. Raises ValueError if it has the form of an id."""
    if is_id(alias):
        raise ValueError("an alias must not look like an id")
    return alias


ALIAS_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"
ALIAS_RULE = (
    "An alias has lower-case letters, digits and the characters . _ -, begins with a letter or "
    "digit, and has at most 63 characters."
)
AliasName = Annotated[str, TextPattern(ALIAS_PATTERN, ALIAS_RULE), AfterValidator(not_an_id)]


class ModelUpdate(BaseModel):
    """Changes to a model; omitted fields stay unchanged."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[
        Annotated[
            str,
            Field(max_length=200),
            TextPattern(
                r"[^\s\x00-\x1f\x7f-\x9f]",
                "must not be empty without surrounding whitespace and control characters",
            ),
        ]
        | None,
        AfterValidator(lambda name: None if name is None else cleaned(name).strip()),
    ] = None
    alias: AliasName | None = Field(
        default=None,
        description="Alias to point to this model, and no longer to another one.",
        examples=["production"],
    )
    metadata: Metadata | None = Field(
        default=None, description="Your own metadata; it replaces all earlier pairs."
    )


class AliasTarget(BaseModel):
    """The model that an alias should point to."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(max_length=100, description="Id of the model.")
    capture: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Share of the predictions through the alias that are kept for feedback and "
        "drift, as with `capture`: 1 keeps all. Default: as before; 0 for a new alias.",
    )


def alias_view(alias: ModelAlias) -> AliasView:
    """Return the view of an alias."""
    return AliasView(
        id=alias.id,
        name=alias.name,
        owner=alias.owner,
        model_id=alias.model_id,
        moved_at=alias.moved_at,
        capture=alias.capture,
        links={
            # Alias names are unique per owner, so the link includes the owner.
            "self": f"/aliases/{alias.name}?owner={quote(alias.owner, safe='')}",
            "model": f"/models/{alias.model_id}",
        },
    )


def history_view(alias: ModelAlias, moves: Sequence[AliasMove], limit: int) -> AliasHistory:
    """Return the alias with up to `limit` moves, given up to `limit + 1` of them."""
    more = len(moves) > limit
    return AliasHistory(
        **alias_view(alias).model_dump(),
        history=[
            AliasMoveView.model_validate(move, from_attributes=True) for move in moves[:limit]
        ],
        has_more=more,
        next=moves[limit - 1].number if more else None,
    )
