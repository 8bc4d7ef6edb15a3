"""Backbones that requests may name, and the pools of workers that take them."""

from __future__ import annotations

from collections.abc import Sequence

from app.kit.http.errors import Unprocessable, invalid_field
from app.kit.pools import Pool
from dspt.config import TuneConfig
from dspt.errors import UnknownBackbone


def check_backbone(config: TuneConfig, local_backbones: Sequence[str]) -> None:
    """Raise Unprocessable unless the backbone has a known name or is allowed by the operator.

    A path or an address would let a caller choose what this machine reads.
    """
    if config.backbone in local_backbones:
        return
    if not config.backbone_is_a_place:
        _check_name(config.backbone)
        return
    message = (
        f"{config.backbone!r} is a path or address of weights, which the operator must allow: add "
        "it to DSPT_LOCAL_BACKBONES (a JSON list) and restart the service"
    )
    raise invalid_field("backbone", "backbone_not_allowed", message)


def pool_for(pools: Sequence[Pool], *backbones: str) -> str:
    """Return the name of the first pool that takes all the backbones. Raises Unprocessable."""
    for pool in pools:
        if all(map(pool.takes, backbones)):
            return pool.name
    message = (
        f"no pool of workers takes {' and '.join(map(repr, backbones))}. Choose another backbone, "
        "or ask the operator to add it to DSPT_POOLS"
    )
    raise invalid_field("backbone", "no_pool", message)


def _check_name(name: str) -> None:
    """Raise Unprocessable unless the name is that of an architecture and its weights."""
    # Its package imports huggingface_hub.
    from dspt.backbones.architectures import check_name

    try:
        check_name(name)
    except UnknownBackbone as error:
        raise Unprocessable(error.message, code=error.code, param="backbone") from error
