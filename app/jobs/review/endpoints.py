"""The HTTP calls about the review of a job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from dspt_client.schemas.reviews import ReviewHistory, ReviewView
from fastapi import Depends, FastAPI, Header, Query, Request, Response
from pydantic import Field

from app.access.dependencies import CallerDep, caller_router
from app.jobs.repository import MAX_SEQ
from app.jobs.review.verdicts import Reviews
from app.jobs.schemas import ReviewChanges
from app.kit.http.errors import (
    BODY_ERRORS,
    Conflict,
    NotFound,
    PreconditionFailed,
    Unprocessable,
    problems,
)
from app.kit.http.etags import IfMatch, etag, version_in
from app.kit.http.rules import Scope, rules
from app.kit.http.schema_types import Omittable


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open `app.state.reviews`."""
    app.state.reviews = Reviews(app.state.context)
    yield


router = caller_router("/jobs/{job_id}/review", tags=["jobs"], lifespan=_lifespan)


def _reviews(request: Request) -> Reviews:
    reviews: Reviews = request.app.state.reviews
    return reviews


ReviewsDep = Annotated[Reviews, Depends(_reviews)]
_Version = Annotated[int, Field(ge=0, le=MAX_SEQ)]


@router.get(
    "",
    responses={
        304: {"description": "The client's copy is up to date."},
        **problems(NotFound, Conflict, Unprocessable),
    },
)
@rules(Scope.READ)
def get_review(
    job_id: str,
    response: Response,
    caller: CallerDep,
    reviews: ReviewsDep,
    since: Annotated[
        _Version | Omittable,
        Query(description="Only what has changed after this version; undone verdicts are null."),
    ] = None,
    if_none_match: Annotated[str | Omittable, Header(include_in_schema=False)] = None,
) -> ReviewView:
    """The verdicts of people on the labels of a job, by file."""
    if if_none_match is not None and if_none_match == etag(reviews.version(caller, job_id)):
        # Declared as a ReviewView; FastAPI passes a Response on as it is.
        return Response(status_code=304, headers={"ETag": if_none_match})  # type: ignore[return-value]
    found = reviews.get(caller, job_id, since)
    response.headers["ETag"] = etag(found.version)
    return found


@router.patch(
    "",
    responses=problems(*BODY_ERRORS, NotFound, Conflict, PreconditionFailed),
)
@rules(Scope.SUBMIT)
def change_review(
    job_id: str,
    changes: ReviewChanges,
    response: Response,
    caller: CallerDep,
    reviews: ReviewsDep,
    since: Annotated[
        _Version | Omittable,
        Query(description="Return all changes after this version. Default: those of this call."),
    ] = None,
    if_match: IfMatch = None,
) -> ReviewView:
    """Save verdicts, or undo them; the newest verdict of a file counts.

    All unknown files and classes are refused together. Nothing is saved then.
    """
    found = reviews.save(
        caller, job_id, changes.verdicts, version=version_in(if_match), since=since
    )
    response.headers["ETag"] = etag(found.version)
    return found


@router.get("/history", responses=problems(NotFound, Conflict, Unprocessable))
@rules(Scope.READ)
def list_verdicts(
    job_id: str,
    caller: CallerDep,
    reviews: ReviewsDep,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="`next` of the previous page.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Verdicts per page.")] = 100,
) -> ReviewHistory:
    """All verdicts in the order in which they were given, also those that were undone."""
    return reviews.history(caller, job_id, after=after, limit=limit)
