"""Why two classifiers are not made into one by putting their classes together."""

from __future__ import annotations

from app.kit.errors import Conflict
from app.models.tables import Model

_SHOWN = 5


def refusal(a: Model, b: Model) -> Conflict:
    """The reason for these two, and what to do in its place."""
    if a.id == b.id:
        return Conflict("Both are the same model.", code="same_model")
    if a.backbone_digest != b.backbone_digest:
        return Conflict(
            f"{a.id} sees images through {a.backbone}, {b.id} through {b.backbone}: what one makes "
            f"of an image means nothing to the other. {_MEND}",
            code="cannot_merge",
        )
    new = [name for name in b.classes if name not in set(a.classes)]
    by_name = ""
    if new:
        named = ", ".join(new[:_SHOWN]) + (", ..." if new[_SHOWN:] else "")
        by_name = f" Or add {named} to {a.id} by name alone (POST /models/{a.id}/classes)."
    return Conflict(
        f"{a.id} and {b.id} were tuned apart, each to tell its own classes from one another. No "
        "photo has set a class of one against a class of the other, and their scores are on "
        "scales of their own: side by side, the more confident model would win, not the right "
        f"one. {_MEND}{by_name}",
        code="cannot_merge",
    )


_MEND = "Tune one job on the photos of both: a zip with all class folders."
