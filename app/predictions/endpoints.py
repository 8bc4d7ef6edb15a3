"""POST /predict."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, File, Form, Request, UploadFile
from starlette.concurrency import run_in_threadpool

from app.access.caller import CallerDep
from app.kit.context import ContextDep
from app.kit.errors import (
    Conflict,
    NotFound,
    PayloadTooLarge,
    ServiceUnavailable,
    StorageFull,
    Unprocessable,
    problems,
)
from app.kit.lookups import Lookups
from app.predictions import service
from app.predictions.inference import Inference
from app.predictions.schemas import PredictResponse
from app.predictions.settings import PredictionSettings


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.predictions = PredictionSettings()
    app.state.inference = Inference(app.state.predictions, app.state.context.settings.tower_dir)
    try:
        yield
    finally:
        await run_in_threadpool(app.state.inference.close)


router = APIRouter(tags=["predictions"], lifespan=_lifespan)


async def _inference(request: Request) -> Inference:
    inference = request.app.state.inference
    assert isinstance(inference, Inference)
    return inference


async def _settings(request: Request) -> PredictionSettings:
    settings = request.app.state.predictions
    assert isinstance(settings, PredictionSettings)
    return settings


InferenceDep = Annotated[Inference, Depends(_inference)]
SettingsDep = Annotated[PredictionSettings, Depends(_settings)]


@router.post(
    "/predict",
    response_model_exclude_none=True,
    responses=problems(
        NotFound, Conflict, PayloadTooLarge, StorageFull, Unprocessable, ServiceUnavailable
    ),
)
async def predict(
    request: Request,
    context: ContextDep,
    caller: CallerDep,
    inference: InferenceDep,
    settings: SettingsDep,
    model: Annotated[str, Form(description="Id of a tuned classifier, or an alias.")],
    images: Annotated[list[UploadFile], File(min_length=1, description="One image or many.")],
    top_k: Annotated[int, Form(ge=1, le=1000, description="Classes named per image.")] = 5,
) -> PredictResponse:
    """Classify images; one that cannot be read spoils its own entry only."""
    if len(images) > settings.max_images:
        raise PayloadTooLarge(
            f"{len(images)} images in one request; send at most {settings.max_images} at a time.",
            code="too_many_images",
        )
    named = [(image.filename or f"image {i}", await image.read()) for i, image in enumerate(images)]
    lookups: Lookups = request.app.state.lookups
    return await service.predict(context, lookups, caller, inference, model, named, top_k)
