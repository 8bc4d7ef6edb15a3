"""The HTTP calls about uploads in parts."""

from __future__ import annotations

from typing import Annotated

from dspt_client.schemas.uploads import PartUrl, UploadView
from fastapi import Header, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import State

from app.access.dependencies import CallerDep, caller_router
from app.datasets import upload_parts, uploads
from app.kit.context import Context
from app.kit.http.context import BodyDep, ContextDep
from app.kit.http.errors import (
    UPLOAD_ERRORS,
    BadRequest,
    Conflict,
    NotFound,
    PayloadTooLarge,
    Unprocessable,
    problems,
)
from app.kit.http.rules import Scope, rules
from app.tables.uploads import Upload
from dspt.kit.text_pattern import SHA256

router = caller_router("/uploads", tags=["data sets"])


_Number = Annotated[int, Path(ge=1, le=1_000_000, description="1, 2, ...")]
_ContentDigest = Annotated[
    str, Header(description="Checksum of the part: `sha-256=:DIGEST IN BASE64:` (RFC 9530).")
]


class NewUpload(BaseModel):
    """The file that will arrive in parts."""

    model_config = ConfigDict(extra="forbid")

    filename: str = Field(default="dataset.zip", max_length=255)
    size_bytes: int = Field(ge=1, le=2**53, description="Size of the whole file.")
    sha256: Annotated[str, SHA256] | None = Field(
        default=None,
        description="SHA-256 of the whole file, in hex. With it a repeated request goes on with "
        "the open upload, and a file that was uploaded before is not sent again.",
    )


def _part_bytes(state: State) -> int:
    return uploads.LARGEST_PART_BYTES  # those of the upload itself are checked later


@router.post("", status_code=201, responses=problems(PayloadTooLarge, Unprocessable))
@rules(Scope.SUBMIT)
def create_upload(wanted: NewUpload, context: ContextDep, caller: CallerDep) -> UploadView:
    """Start an upload in parts, for large files and poor connections.

    Send each part by `PUT`, in any order, also several at once; then `POST /datasets` with
    `upload_id`. After a cut only the missing parts are sent again.
    """
    made = uploads.start(context, caller, wanted.filename, wanted.size_bytes, wanted.sha256)
    if isinstance(made, Upload):
        return _view(context, made)
    return UploadView(
        id=None,
        dataset_id=made,
        size_bytes=wanted.size_bytes,
        part_bytes=uploads.PART_BYTES,
        parts=0,
        missing=[],
        expires_at=None,
        links={"dataset": f"/datasets/{made}"},
    )


@router.get("/{upload_id}", responses=problems(NotFound))
@rules(Scope.READ)
def get_upload(upload_id: str, context: ContextDep, caller: CallerDep) -> UploadView:
    """Which parts of an upload have not arrived."""
    with context.database.read() as session:
        upload = uploads.find(session, caller, upload_id)
    return _view(context, upload)


@router.put(
    "/{upload_id}/parts/{number}",
    status_code=204,
    responses=problems(*UPLOAD_ERRORS, NotFound),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
)
@rules(Scope.SUBMIT, max_body_bytes=_part_bytes)
def put_part(
    upload_id: str,
    number: _Number,
    context: ContextDep,
    caller: CallerDep,
    body: BodyDep,
    content_digest: _ContentDigest,
) -> None:
    """Send one part; the same part may be sent again."""
    upload_parts.receive(context, caller, upload_id, number, body, content_digest)


@router.post(
    "/{upload_id}/parts/{number}/url", responses=problems(NotFound, Conflict, Unprocessable)
)
@rules(Scope.SUBMIT)
def create_part_url(
    upload_id: str, number: _Number, context: ContextDep, caller: CallerDep
) -> PartUrl:
    """Where to send one part in the bucket itself, by `PUT` and without the API key.

    Tell the service afterwards by `POST /uploads/{id}/parts/{number}/stored`. Possible where the
    upload's `links` have `part_url`.
    """
    url, expires_at = upload_parts.url(context, caller, upload_id, number)
    return PartUrl(url=url, expires_at=expires_at)


@router.post(
    "/{upload_id}/parts/{number}/stored",
    status_code=204,
    responses=problems(BadRequest, NotFound, Conflict, Unprocessable),
)
@rules(Scope.SUBMIT)
def take_part(
    upload_id: str,
    number: _Number,
    context: ContextDep,
    caller: CallerDep,
    content_digest: _ContentDigest,
) -> None:
    """Say that a part was sent to its URL: it is checked, and counts as arrived."""
    upload_parts.take(context, caller, upload_id, number, content_digest)


@router.delete("/{upload_id}", status_code=204, responses=problems(NotFound))
@rules(Scope.SUBMIT)
def delete_upload(upload_id: str, context: ContextDep, caller: CallerDep) -> None:
    """Delete an upload and its parts."""
    uploads.remove(context, caller, upload_id)


def _view(context: Context, upload: Upload) -> UploadView:
    with context.database.read() as session:
        lacking = uploads.missing(session, upload)
    address = f"/uploads/{upload.id}"
    links = {"self": address, "part": f"{address}/parts/{{number}}"}
    if context.settings.presigned_uploads and not context.storage.is_local:
        links["part_url"] = f"{links['part']}/url"
    return UploadView(
        id=upload.id,
        dataset_id=None,
        size_bytes=upload.size_bytes,
        part_bytes=upload.part_bytes,
        parts=upload.parts,
        missing=lacking,
        expires_at=uploads.expires_at(upload),
        links=links,
    )
