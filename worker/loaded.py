"""Keep the backbone of one job for the next, which often comes at once and needs the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from dspt.backbones import find_weights, load_backbone
from dspt.kit.device import resolve_device

if TYPE_CHECKING:
    from dspt.backbones import Backbone

_log = structlog.get_logger(__name__)
_kept: dict[tuple[object, ...], Backbone] = {}


def loaded(name: str, device: str) -> Backbone:
    """Return the backbone `name` on `device` (see `TuneConfig.device`).

    The last one stays in memory until another one is needed, its files change, or this process
    rests (see worker.rest). Raises what `dspt.load_backbone` raises.
    """
    key = (name, device, find_weights(name).stamp())
    if key not in _kept:
        _kept.clear()  # first, so that a GPU need not hold two
        _kept[key] = load_backbone(name, device=resolve_device(device))
        _log.info("backbone loaded", backbone=name)
    return _kept[key]
