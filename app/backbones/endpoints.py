"""GET /backbones."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter

from app.backbones.schemas import BackboneList, BackboneView
from app.kit.http.rules import Scope, rules

router = APIRouter(prefix="/backbones", tags=["backbones"])

ADVICE = (
    "`builtin` is for trying out: it is small and works offline. For work use ViT-B-16/openai; "
    "its weights are downloaded at the first use. Other open_clip names work too, and those local "
    "folders that the operator has allowed."
)


@router.get("")
@rules(Scope.READ)
def list_backbones() -> BackboneList:
    """What can be tuned, and whether its weights are on this machine."""
    from dspt import backbones  # not at start: it imports torch

    return BackboneList(
        data=[BackboneView(**asdict(info)) for info in backbones.list_backbones()], advice=ADVICE
    )
