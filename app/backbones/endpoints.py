"""GET /backbones."""

from __future__ import annotations

from dataclasses import asdict

from app.access.dependencies import caller_router
from app.backbones.schemas import BackboneList, BackboneView
from app.kit.http.rules import Scope, rules

router = caller_router("/backbones", tags=["backbones"])

ADVICE = (
    "`builtin` is for trials: it is small and works offline. For production use ViT-B-16/openai; "
    "its weights are downloaded on first use. Other open_clip names work too, and local folders "
    "that the operator allows."
)


@router.get("")
@rules(Scope.READ)
def list_backbones() -> BackboneList:
    """Backbones to tune, and whether their weights are on this machine."""
    from dspt import backbones  # imports huggingface_hub, which the start does not need

    return BackboneList(
        data=[BackboneView(**asdict(info)) for info in backbones.list_backbones()], advice=ADVICE
    )
