"""The HTTP calls about data sets and their photos."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from dspt_client.schemas.datasets import DatasetDetail, DatasetHealth, DatasetView, PhotoPage
from fastapi import FastAPI, File, Form, Header, Path, Query, Response, UploadFile

from app.access.dependencies import CallerDep, caller_router
from app.datasets import details, health, repository, service, uploads, views
from app.datasets.dependencies import ShelfDep
from app.datasets.photos import JPEG, SIZES, PhotoShelf, Size
from app.kit.http.context import ContextDep
from app.kit.http.errors import (
    UPLOAD_ERRORS,
    BadRequest,
    Conflict,
    NotFound,
    Unprocessable,
    missing,
    problems,
)
from app.kit.http.filters import FiltersDep
from app.kit.http.paging import After, Limit, Page, page_of
from app.kit.http.rules import Scope, max_upload_bytes, rules
from app.kit.http.schema_types import Omittable
from app.kit.metadata import FORM, MetadataUpdate, parse
from app.quotas.early import check_bytes_early

_FOREVER = "private, max-age=31536000, immutable"


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open `app.state.photos`."""
    app.state.photos = PhotoShelf(app.state.context)
    yield


router = caller_router("/datasets", tags=["data sets"], lifespan=_lifespan)


@router.post(
    "",
    status_code=201,
    responses=problems(*UPLOAD_ERRORS, NotFound, Conflict),
)
@rules(Scope.SUBMIT, max_body_bytes=max_upload_bytes, before_body=check_bytes_early)
def create_dataset(
    response: Response,
    context: ContextDep,
    caller: CallerDep,
    shelf: ShelfDep,
    dataset: Annotated[
        UploadFile | Omittable, File(description="Zip with one folder of images per class.")
    ] = None,
    upload_id: Annotated[
        str | Omittable, Form(description="A complete upload in parts, instead of `dataset`.")
    ] = None,
    metadata: Annotated[str | Omittable, Form(description=FORM)] = None,
) -> DatasetDetail:
    """Upload labelled photos for jobs to come. The same zip is stored once.

    Folders and tables are checked; the photos themselves are read by the first job.
    """
    if (dataset is None) == (upload_id is None):
        raise missing("dataset", "Send exactly one of `dataset` (a zip file) and `upload_id`.")
    pairs = parse(metadata)
    if dataset is not None:
        upload = service.receive(dataset.file, dataset.filename)
        dataset_id = service.store(context, upload, caller.owner, kept=True)
    else:
        dataset_id = uploads.store(context, caller, upload_id or "")
    if pairs is not None:
        service.set_metadata(context, caller, dataset_id, pairs)
    found = details.of_new(context, caller, shelf, dataset_id)
    response.headers["Location"] = found.links["self"]
    return found


@router.get("", responses=problems(Unprocessable))
@rules(Scope.READ)
def list_datasets(
    context: ContextDep,
    caller: CallerDep,
    filters: FiltersDep,
    after: After = None,
    limit: Limit = 20,
) -> Page[DatasetView]:
    """Data sets, newest first."""
    owner = caller.only_owner
    with context.database.read() as session:
        found = repository.page(session, filters, owner=owner, after=after, limit=limit + 1)
    return page_of([views.view(each) for each in found], limit)


@router.get("/{dataset_id}", responses=problems(NotFound, Unprocessable))
@rules(Scope.READ)
def get_dataset(
    dataset_id: str, context: ContextDep, caller: CallerDep, shelf: ShelfDep
) -> DatasetDetail:
    """One data set, with its classes and the number of files in each."""
    return details.of(context, caller, shelf, dataset_id)


@router.patch("/{dataset_id}", responses=problems(BadRequest, NotFound, Unprocessable))
@rules(Scope.SUBMIT)
def update_dataset(
    dataset_id: str, wanted: MetadataUpdate, context: ContextDep, caller: CallerDep
) -> DatasetView:
    """Replace the metadata of a data set; its photos never change."""
    return views.view(service.set_metadata(context, caller, dataset_id, wanted.metadata))


@router.delete("/{dataset_id}", status_code=204, responses=problems(NotFound, Conflict))
@rules(Scope.SUBMIT)
def delete_dataset(dataset_id: str, context: ContextDep, caller: CallerDep) -> None:
    """Delete a data set that no job uses."""
    service.delete(context, caller, dataset_id)


@router.get("/{dataset_id}/health", responses=problems(NotFound, Conflict))
@rules(Scope.READ)
def get_dataset_health(dataset_id: str, context: ContextDep, caller: CallerDep) -> DatasetHealth:
    """What may be wrong with the photos, which files, and how to fix it.

    Counts, copies, leaks, imbalance, unreadable and suspicious photos, names, and what was assumed.
    Made by each job on the data set; this is the report of the newest one.
    """
    return health.find(context, caller, dataset_id)


@router.get("/{dataset_id}/images", responses=problems(NotFound, Conflict, Unprocessable))
@rules(Scope.READ)
def list_images(
    dataset_id: str,
    context: ContextDep,
    caller: CallerDep,
    shelf: ShelfDep,
    split: Annotated[Literal["train", "val", "test"] | Omittable, Query()] = None,
    label: Annotated[str | Omittable, Query(description="Class, after corrections.")] = None,
    given: Annotated[str | Omittable, Query(description="Class in the uploaded zip.")] = None,
    after: Annotated[
        int, Query(ge=-1, description="Number of the last photo of the previous page.")
    ] = -1,
    limit: Annotated[int, Query(ge=1, le=1000, description="Photos per page.")] = 100,
) -> PhotoPage:
    """The photos of a data set, in the order of their paths, and then those added later."""
    zip_file, dataset = service.photos_of(context, caller, dataset_id)
    wanted = {"split": split, "label": label, "given": given}
    found = [
        photo
        for photo in shelf.list(zip_file, dataset)
        if photo.number > after
        and all(value in (None, getattr(photo, name)) for name, value in wanted.items())
    ]
    return PhotoPage(
        data=[views.photo_view(dataset_id, photo) for photo in found[:limit]],
        has_more=len(found) > limit,
        next=found[limit - 1].number if len(found) > limit else None,
    )


@router.get(
    "/{dataset_id}/images/{number}",
    response_class=Response,
    responses={
        **JPEG,
        304: {"description": "The client's copy is up to date."},
        **problems(NotFound, Conflict, Unprocessable),
    },
)
@rules(Scope.READ)
def get_image(
    dataset_id: str,
    number: Annotated[int, Path(ge=0, le=1_000_000_000)],
    context: ContextDep,
    caller: CallerDep,
    shelf: ShelfDep,
    size: Size = "192",
    if_none_match: Annotated[str | Omittable, Header(include_in_schema=False)] = None,
) -> Response:
    """One photo."""
    zip_file, _ = service.photos_of(context, caller, dataset_id)
    headers = {"ETag": f'"{zip_file.sha256[:32]}-{number}-{size}"', "Cache-Control": _FOREVER}
    if if_none_match == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    picture = shelf.picture(zip_file, number, SIZES[size])
    return Response(picture, media_type="image/jpeg", headers=headers)
