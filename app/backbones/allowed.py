"""Backbones that requests may name."""

from __future__ import annotations

from collections.abc import Sequence

from app.kit.http.errors import ProblemItem, Unprocessable
from dspt.config import TuneConfig


def check_backbone(config: TuneConfig, local_backbones: Sequence[str]) -> None:
    """Raise Unprocessable unless the backbone is a catalog name or allowed by the operator.

    A path or an address would let a caller choose what this machine reads.
    """
    if not config.backbone_is_a_place or config.backbone in local_backbones:
        return
    message = (
        f"{config.backbone!r} is a path or address of weights, which the operator must allow: add "
        "it to DSPT_LOCAL_BACKBONES (a JSON list) and restart the service"
    )
    item = ProblemItem(param="backbone", code="backbone_not_allowed", message=message)
    raise Unprocessable(f"backbone: {message}", code="backbone_not_allowed", errors=[item])
