"""The HTTP call that adds photos to a data set."""

from __future__ import annotations

from typing import Annotated, Literal

from dspt_client.schemas.datasets import DatasetDetail
from fastapi import File, Form, Response, UploadFile

from app.access.dependencies import CallerDep, caller_router
from app.datasets import additions, details, service
from app.datasets.dependencies import ShelfDep
from app.kit.http.context import ContextDep
from app.kit.http.errors import UPLOAD_ERRORS, Conflict, NotFound, missing, problems
from app.kit.http.rules import Scope, max_upload_bytes, rules
from app.kit.http.schema_types import Omittable
from app.kit.metadata import FORM, parse
from app.quotas.early import check_bytes_early

router = caller_router("/datasets", tags=["data sets"])


@router.post(
    "/{dataset_id}/images",
    status_code=201,
    responses=problems(*UPLOAD_ERRORS, NotFound, Conflict),
)
@rules(Scope.SUBMIT, max_body_bytes=max_upload_bytes, before_body=check_bytes_early)
def add_images(
    dataset_id: str,
    response: Response,
    context: ContextDep,
    caller: CallerDep,
    shelf: ShelfDep,
    archive: Annotated[
        UploadFile | Omittable,
        File(
            description="Zip of photos, as for `POST /datasets`; one class, or a folder "
            "`unlabelled/`, is enough."
        ),
    ] = None,
    images: Annotated[
        list[UploadFile] | Omittable,
        File(description="Up to 1,000 image files, instead of `archive`.", min_length=1),
    ] = None,
    label: Annotated[
        str | Omittable, Form(min_length=1, max_length=200, description="Class of all `images`.")
    ] = None,
    labels: Annotated[
        str | Omittable,
        Form(description="Class of each of `images`: JSON object from file name to class."),
    ] = None,
    split: Annotated[
        Literal["train", "val", "test", "unlabelled"],
        Form(description="What `images` are used for. `unlabelled`: for training, without labels."),
    ] = "train",
    metadata: Annotated[str | Omittable, Form(description=FORM)] = None,
) -> DatasetDetail:
    """Add photos: the answer is a new version, and the old one stays as it is.

    The new version shares the files and corrections of the old one, so that only the new photos
    are stored and encoded. A class that the data set does not have is new. A file whose path is
    taken gets a number. Repeating the request returns the same version.
    """
    pairs = parse(metadata)
    if (archive is None) == (images is None):
        raise missing("archive", "Send exactly one of `archive` (a zip file) and `images`.")
    if archive is not None:
        if label is not None or labels is not None:
            raise missing("images", "Send `label` or `labels` with `images`, not with `archive`.")
        upload = service.receive(archive.file, archive.filename)
        made = additions.add(context, caller, dataset_id, upload)
    else:
        names = [service.clean_filename(each.filename, "image") for each in images or []]
        of_file = None if split == "unlabelled" else additions.labels_of(names, label, labels)
        if of_file is None and (label is not None or labels is not None):
            raise missing("split", "Send `split=unlabelled` without `label` and `labels`.")
        files = additions.by_name(names, [each.file for each in images or []])
        with additions.packed(files, of_file, split) as upload:
            made = additions.add(context, caller, dataset_id, upload)
    if pairs is not None:
        service.set_metadata(context, caller, made, pairs)
    found = details.of_new(context, caller, shelf, made)
    response.headers["Location"] = found.links["self"]
    return found
