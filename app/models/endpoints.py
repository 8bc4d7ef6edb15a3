"""The HTTP calls about tuned classifiers."""

from __future__ import annotations

from typing import Annotated

from dspt_client.schemas.models import ModelView
from fastapi import File, Form, Response, UploadFile
from sqlalchemy.orm import Session

from app.access.dependencies import CallerDep, caller_router
from app.captures import retention
from app.kit import storage_keys
from app.kit.http.context import ContextDep
from app.kit.http.errors import (
    UPLOAD_ERRORS,
    BadRequest,
    Conflict,
    NotFound,
    Unprocessable,
    problems,
)
from app.kit.http.filters import Backbone, FiltersDep
from app.kit.http.paging import After, Limit, Page, page_of
from app.kit.http.rules import Scope, rules
from app.kit.http.schema_types import Omittable
from app.models import aliases, drift, imports, repository
from app.models.schemas import ModelUpdate, view
from app.models.service import find
from app.tables.models import Model

router = caller_router("/models", tags=["models"])


@router.get("", responses=problems(Unprocessable))
@rules(Scope.READ)
def list_models(
    context: ContextDep,
    caller: CallerDep,
    filters: FiltersDep,
    after: After = None,
    limit: Limit = 20,
    backbone: Backbone = None,
) -> Page[ModelView]:
    """Tuned classifiers, newest first, without the metrics of each class."""
    with context.database.read() as session:
        models = repository.page(
            session,
            filters,
            backbone=backbone,
            owner=caller.only_owner,
            after=after,
            limit=limit + 1,
        )
        names = repository.aliases_of(session, [model.id for model in models])
    return page_of([view(model, names[model.id]) for model in models], limit)


@router.post(
    "",
    status_code=201,
    responses=problems(*UPLOAD_ERRORS),
)
@rules(Scope.SUBMIT)
def import_model(
    response: Response,
    context: ContextDep,
    caller: CallerDep,
    artifact: Annotated[UploadFile, File(description="File from GET /models/{id}/artifact.")],
    name: Annotated[
        str | Omittable, Form(max_length=200, description="Default: the file's name.")
    ] = None,
) -> ModelView:
    """Import a classifier that was tuned elsewhere."""
    filename = (artifact.filename or "").removesuffix(".safetensors")
    model = imports.add(context, caller.owner, artifact.file.read(), name or filename)
    response.headers["Location"] = model.links["self"]
    return model


@router.get("/{model_id}", responses=problems(NotFound))
@rules(Scope.READ)
def get_model(model_id: str, context: ContextDep, caller: CallerDep) -> ModelView:
    """One tuned classifier, and the drift of its captured predictions."""
    with context.database.read() as session:
        model = find(session, caller, model_id)
        return _whole(session, model)


@router.patch("/{model_id}", responses=problems(BadRequest, NotFound, Unprocessable))
@rules(Scope.SUBMIT)
def update_model(
    model_id: str, wanted: ModelUpdate, context: ContextDep, caller: CallerDep
) -> ModelView:
    """Rename a classifier, point an alias to it, or replace its metadata.

    Once this call returns, requests for the alias use this model.
    """
    with context.database.write() as session:
        aliases.lock(session)
        model = find(session, caller, model_id)
        if wanted.name is not None:
            model.name = wanted.name
        if wanted.metadata is not None:
            model.user_metadata = wanted.metadata
        if wanted.alias is not None:
            aliases.move(session, caller, model, wanted.alias)
        return _whole(session, model)


@router.get(
    "/{model_id}/artifact",
    response_class=Response,
    responses={
        200: {
            "description": "The safetensors file: context vectors, and a manifest as metadata.",
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        },
        **problems(NotFound),
    },
)
@rules(Scope.READ)
def get_artifact(model_id: str, context: ContextDep, caller: CallerDep) -> Response:
    """Download a classifier to use it elsewhere."""
    with context.database.read() as session:
        model = find(session, caller, model_id)
    try:
        data = context.storage.read_bytes(model.storage_key)
    except FileNotFoundError as error:
        raise NotFound(
            "The artefact is missing from the storage.", code="artifact_not_found"
        ) from error
    return Response(
        data,
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f'attachment; filename="{model.id}.safetensors"',
            "ETag": f'"{model.sha256}"',
        },
    )


@router.delete("/{model_id}", status_code=204, responses=problems(NotFound, Conflict))
@rules(Scope.SUBMIT)
def delete_model(model_id: str, context: ContextDep, caller: CallerDep) -> None:
    """Delete a classifier, its artefact and its captured photos; its job stays."""
    with context.database.write() as session:
        aliases.lock(session)
        model = find(session, caller, model_id)
        owner = model.owner
        aliases.check_unused(session, model)
        repository.remove(session, model_id)
    context.storage.delete(storage_keys.model(model_id))
    retention.remove_of_deleted_models(context, owner)


def _whole(session: Session, model: Model) -> ModelView:
    names = repository.aliases_of(session, [model.id])[model.id]
    return view(model, names, drift.of(session, model.id, model.metrics))
