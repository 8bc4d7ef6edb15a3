"""Which backbones may be named from outside."""

from __future__ import annotations

from collections.abc import Sequence

from app.kit.http.errors import ProblemItem, Unprocessable
from dspt.config import TuneConfig


def check_backbone(config: TuneConfig, local_backbones: Sequence[str]) -> None:
    """Raise Unprocessable unless the backbone is a name from the catalog, or the operator's.

    A path, or an address, would let a stranger choose what this machine reads.
    """
    if not config.backbone_is_a_place or config.backbone in local_backbones:
        return
    message = (
        f"{config.backbone!r} is a place to read weights from, which only the operator may allow: "
        "start the service with DSPT_LOCAL_BACKBONES set to a JSON list with this name in it"
    )
    item = ProblemItem(param="backbone", code="backbone_not_allowed", message=message)
    raise Unprocessable(f"backbone: {message}", code="backbone_not_allowed", errors=[item])
