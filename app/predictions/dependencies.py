"""FastAPI dependencies of predictions."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from app.predictions.inference import Inference


async def get_inference(request: Request) -> Inference:
    """Return the application's inference engine (`app.state.inference`)."""
    inference = request.app.state.inference
    assert isinstance(inference, Inference)
    return inference


InferenceDep = Annotated[Inference, Depends(get_inference)]
