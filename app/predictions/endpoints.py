"""The HTTP calls that classify images."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, TypeVar

from dspt_client.schemas.predictions import PredictResponse
from fastapi import FastAPI, File, Form, Header, Path, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import State

from app.access.caller import Caller
from app.access.dependencies import CallerDep, caller_router
from app.access.rate_limits import RateLimits
from app.kit.http.cancel_on_disconnect import cancel_on_disconnect
from app.kit.http.errors import (
    Conflict,
    Forbidden,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    ServiceUnavailable,
    StorageFull,
    Unprocessable,
    missing,
    problems,
)
from app.kit.http.json_body import parse_json
from app.kit.http.rules import Scope, rules
from app.kit.http.schema_types import Omittable
from app.predictions import bodies, stream
from app.predictions.bodies import CAPTURE
from app.predictions.image_urls import ImageUrls
from app.predictions.inference import Inference
from app.predictions.metrics import EngineMetrics
from app.predictions.service import Deadline, Predictions, PredictOptions
from app.predictions.settings import PredictionSettings


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    state.inference = Inference(
        state.predict_settings, state.context.settings.tower_dir, EngineMetrics(state.registry)
    )
    state.image_urls = ImageUrls(
        state.predict_settings.url_hosts, state.context.settings.private_hosts
    )
    state.predictions = Predictions(state.context, state.reader, state.inference)
    forwards = state.settings.role == "api"
    if forwards:  # others need neither a client nor its TLS context, which take time at the start
        from app.predictions.forwarding import Forwarder

        state.forwarder = Forwarder(
            state.predict_settings,
            most=state.settings.max_waiting_requests,
            bytes_per_second=state.settings.min_upload_bytes_per_second,
        )
    try:
        yield
    finally:
        if forwards:
            await state.forwarder.close()
        await run_in_threadpool(state.inference.close)


J = TypeVar("J", bound=bodies.JsonImages)
router = caller_router(tags=["predictions"], lifespan=_lifespan)


def _max_body_bytes(state: State) -> int:
    most: int = max(state.predict_settings.max_archive_bytes, state.settings.max_body_bytes)
    return most


@router.post(
    "/predict",
    response_model=PredictResponse,
    responses={
        200: {
            "description": "All predictions. With `Accept: application/x-ndjson`, and always for "
            "`archive`, a stream of JSON lines: first the model and the number of images, then one "
            "prediction per image in order, last the totals. If the server stops meanwhile, the "
            "last line has `done` false and the number of predictions sent.",
            "content": {stream.MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        **problems(
            NotFound,
            Conflict,
            PayloadTooLarge,
            RequestTimeout,
            StorageFull,
            Unprocessable,
            ServiceUnavailable,
        ),
    },
    openapi_extra={"requestBody": {"content": bodies.PREDICT_CONTENT}},
)
@rules(Scope.READ, max_body_bytes=_max_body_bytes, predicts=True)
async def predict(
    request: Request,
    caller: CallerDep,
    model: Annotated[
        str | Omittable, Form(description="Id of a tuned classifier, or an alias.")
    ] = None,
    images: Annotated[
        list[UploadFile] | Omittable, File(description="One or more images.", min_length=1)
    ] = None,
    archive: Annotated[
        UploadFile | Omittable, File(description="A zip of images, instead of `images`.")
    ] = None,
    top_k: Annotated[int, Form(ge=1, le=1000, description="Classes to return per image.")] = 5,
    zero_shot: Annotated[
        bool, Form(description="Also return the zero-shot prediction of the untuned model.")
    ] = False,
    reject_below: Annotated[
        Annotated[float, Field(ge=0, le=1)] | Omittable,
        Form(description="Return no label if the most likely class is less probable than this."),
    ] = None,
    capture: Annotated[bool, Form(description=CAPTURE)] = False,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    content_type: Annotated[str, Header(include_in_schema=False)] = "",
) -> Any:
    """Classify images. An unreadable image only affects its own result.

    They come in a form, or in JSON in base64 or by URL.
    """
    if bodies.is_json(content_type):
        asked = await _parsed(request, bodies.JsonPrediction)
        answer = _answer_json(request, caller, asked.model, asked, accept)
        return await cancel_on_disconnect(request, answer)
    if model is None:
        loc, message = ("body", "model"), "Field required"
        raise RequestValidationError(
            [{"type": "missing", "loc": loc, "msg": message, "input": None}]
        )
    if (images is None) == (archive is None):
        raise missing("images", "Send exactly one of `images` and `archive` (a zip of images).")
    options = PredictOptions(top_k, zero_shot, reject_below, capture)
    _check_size(request, [image.size or 0 for image in images or []])
    named = await _read(images or [])
    answer = _answer(request, caller, model, named, archive, options, accept)
    return await cancel_on_disconnect(request, answer)


@router.post(
    "/models/{name}/predict",
    response_model=PredictResponse,
    responses=problems(
        NotFound, Conflict, PayloadTooLarge, RequestTimeout, Unprocessable, ServiceUnavailable
    ),
    openapi_extra={"requestBody": {"required": True, "content": bodies.CONTENT}},
)
@rules(Scope.READ, predicts=True)
async def predict_with_model(
    request: Request,
    caller: CallerDep,
    name: Annotated[str, Path(description="Id of a tuned classifier, or an alias.")],
    top_k: Annotated[
        int, Query(ge=1, le=1000, description="Classes to return; in JSON it is in the body.")
    ] = 5,
    zero_shot: Annotated[bool, Query(description="As in `POST /predict`.")] = False,
    reject_below: Annotated[
        Annotated[float, Field(ge=0, le=1)] | Omittable,
        Query(description="As in `POST /predict`."),
    ] = None,
    capture: Annotated[bool, Query(description="As in `POST /predict`.")] = False,
    content_type: Annotated[str, Header(include_in_schema=False)] = "",
) -> Any:
    """Classify the image that is the body, or several in JSON, in base64 or by URL."""
    if bodies.is_json(content_type):
        asked = await _parsed(request, bodies.JsonImages)
        answer = _answer_json(request, caller, name, asked, "")
    else:
        options = PredictOptions(top_k, zero_shot, reject_below, capture)
        images = [("image 0", await request.body())]
        answer = _answer(request, caller, name, images, None, options, "")
    return await cancel_on_disconnect(request, answer)


async def _parsed(request: Request, schema: type[J]) -> J:
    asked = await run_in_threadpool(parse_json, schema, await request.body())
    _check_size(request, [len(image) * 3 // 4 for image in asked.images])
    return asked


async def _answer_json(
    request: Request, caller: Caller, model: str, asked: bodies.JsonImages, accept: str
) -> Any:
    state = request.app.state
    async with Deadline(state.predict_settings):
        images = await bodies.read_images(
            asked.images, state.image_urls.fetch, state.settings.max_body_bytes
        )
    return await _answer(request, caller, model, images, None, asked.options(), accept)


async def _answer(
    request: Request,
    caller: Caller,
    model: str,
    images: Sequence[bodies.Named],
    archive: UploadFile | None,
    options: PredictOptions,
    accept: str,
) -> Any:
    if options.capture and not caller.may(Scope.SUBMIT):
        raise Forbidden(
            "`capture` stores photos, so it needs a key with the scope `submit`.",
            code="scope_missing",
        )
    settings: PredictionSettings = request.app.state.predict_settings
    predictions: Predictions = request.app.state.predictions
    limits: RateLimits = request.app.state.rate_limits
    pace = partial(limits.pace_images, caller.limited_as)
    last_line = request.app.state.stop.last_line
    async with Deadline(settings):
        answering = await predictions.ready(caller, model, options)
        if archive is not None:
            most = settings.max_archive_images
            zipped = await run_in_threadpool(stream.ZippedImages, archive.file, most)
            return stream.PredictionStream(zipped, answering, pace, last_line)
        if stream.MEDIA_TYPE in accept:
            names, contents = zip(*images, strict=True)
            read = stream.Images(names, contents.__getitem__)
            return stream.PredictionStream(read, answering, pace, last_line)
        await limits.images(caller.limited_as, len(images))
        with answering.room(len(images)):
            found = await answering.answer(images)
    answered = PredictResponse(**dict(answering.answered()), predictions=found)
    return Response(answered.model_dump_json(exclude_none=True), media_type="application/json")


def _check_size(request: Request, sizes: Sequence[int]) -> None:
    """Raises PayloadTooLarge; sizes: bytes of each image."""
    settings: PredictionSettings = request.app.state.predict_settings
    max_bytes: int = request.app.state.settings.max_body_bytes
    if len(sizes) > settings.max_images:
        raise PayloadTooLarge(
            f"Too many images in one request ({len(sizes)}, maximum {settings.max_images}). Send "
            "fewer, or a zip as `archive`.",
            code="too_many_images",
        )
    if sum(sizes) > max_bytes:
        raise PayloadTooLarge(
            f"The images exceed {max_bytes:,} bytes in total. Send fewer, or a zip as `archive`."
        )


async def _read(images: Sequence[UploadFile]) -> list[bodies.Named]:
    return [(image.filename or f"image {i}", await image.read()) for i, image in enumerate(images)]
