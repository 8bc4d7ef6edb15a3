"""Read the predictions of a finished job for the images that accuracy was measured on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspt_client.schemas.predictions import JobPredictions, PredictionEntry

from app.access.caller import Caller
from app.datasets.photos import PhotoShelf
from app.jobs.review.stored import find_stored
from app.kit.context import Context
from app.kit.http.errors import Unprocessable


def page(
    context: Context,
    caller: Caller,
    shelf: PhotoShelf,
    job_id: str,
    *,
    after: str | None,
    limit: int,
    label: str | None = None,
    predicted: str | None = None,
    right: bool | None = None,
) -> JobPredictions:
    """Return up to `limit` predictions with this label, predicted class and result. Default: all.

    Raises NotFound, Conflict if the job has none, Unprocessable if `after` is not a cursor.
    """
    stored = find_stored(context, caller, job_id, "predictions", lambda job: job.predictions_key)

    def wanted(entry: Mapping[str, Any]) -> bool:
        return (
            label in (None, entry["label"])
            and predicted in (None, entry["predicted"])
            and right in (None, entry["label"] == entry["predicted"])
        )

    numbers = shelf.numbers(stored.dataset_id)
    found, following = list[PredictionEntry](), 0
    with stored.file:
        try:
            for end, entry in stored.entries.entries(int(after) if after else None):
                if wanted(entry):
                    entry["image"] = numbers.get(entry["file"])
                    found.append(PredictionEntry.model_validate(entry))
                if len(found) == limit:
                    following = end
                    break
        except ValueError as error:
            raise Unprocessable("`after` must be `next` of the previous page.") from error
    return JobPredictions(
        **stored.entries.head,
        job_id=stored.job_id,
        has_more=following > 0,
        next=str(following) if following else None,
        entries=found,
    )
