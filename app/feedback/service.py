"""Give feedback on captured predictions, and choose those to label next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog
from dspt_client.schemas.feedback import CapturedView, Order
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.captures import retention
from app.feedback import repository
from app.feedback.views import view
from app.jobs import repository as jobs
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.http.errors import NotFound, ProblemItem, Unprocessable
from app.models.service import find_by_name
from app.tables.captures import CapturedPrediction
from app.tables.models import Model
from dspt.data.findings import Findings
from dspt.kit.text import printable
from dspt.labels.new_classes import words_of_new

_log = structlog.get_logger(__name__)


def find(
    session: Session, caller: Caller, prediction_id: str, *, lock: bool = False
) -> CapturedPrediction:
    """Return the captured prediction. Raises NotFound, also if it belongs to another owner."""
    found = repository.get(session, prediction_id, lock=lock)
    if found is None or not caller.sees(found.owner):
        message = (
            f"There is no prediction {printable(prediction_id)!r}. It was classified without "
            "`capture`, or its photo was deleted."
        )
        raise NotFound(message, code="prediction_not_found", param="prediction")
    return found


def give(context: Context, caller: Caller, prediction_id: str, label: str) -> CapturedView:
    """Save the correct class of a photo; the newest one counts.

    Raises NotFound, and Unprocessable if the label cannot be the name of a class.
    """
    with context.database.write() as session:
        found = find(session, caller, prediction_id, lock=True)
        model = session.get_one(Model, found.model_id)
        check_labels(session, model, [label])
        if found.label != label:
            found.label, found.labelled_at = label, database_now(session)
        return view(found, context.settings)


def delete(context: Context, caller: Caller, prediction_id: str) -> None:
    """Delete a captured prediction with its photo. Raises NotFound."""
    with context.database.read() as session:
        find(session, caller, prediction_id)
    retention.remove(context, [prediction_id])


def page(
    context: Context,
    caller: Caller,
    name: str,
    order: Order,
    *,
    labelled: bool | None,
    after: str | None,
    limit: int,
) -> list[CapturedView]:
    """Return captured predictions of the model with this id or alias.

    `instructive`: only those without feedback, and only a first page. Raises NotFound and
    Unprocessable.
    """
    if order == "instructive" and after is not None:
        message = "`instructive` has one page: give feedback, then ask for the next photos."
        item = ProblemItem(param="after", code="one_page", message=message)
        raise Unprocessable(message, errors=[item])
    with context.database.read() as session:
        model_id = find_by_name(session, caller, name).id
        if order == "instructive":
            count = 0 if labelled else limit
            found: Sequence[CapturedPrediction] = _most_instructive(session, model_id, count)
        else:
            read = repository.page if order == "newest" else repository.most_uncertain
            found = read(session, model_id, labelled=labelled, after=after, limit=limit)
        return [view(each, context.settings) for each in found]


def _most_instructive(session: Session, model_id: str, limit: int) -> list[CapturedPrediction]:
    from app.feedback.instructive import choose, decoded  # numpy is needed here only

    candidates = repository.candidates(session, model_id)
    known = repository.features_with_feedback(session, model_id)
    chosen = choose(
        decoded([each.features for each in candidates]),
        [each.margin for each in candidates],
        limit,
        known=decoded(known),
    )
    return [candidates[i] for i in chosen]


def check_labels(session: Session, model: Model, labels: Iterable[str]) -> None:
    """Raise Unprocessable unless the model's data set can have all these classes."""
    job = jobs.get(session, model.job_id) if model.job_id else None
    new = dict.fromkeys(label for label in labels if label not in model.classes)
    findings = Findings()
    words_of_new(new, model.classes, (job and job.class_names) or {}, findings)
    if findings.problems:
        first = findings.problems[0]
        message = f"{first.where!r}: {first.message}."
        raise Unprocessable(message, code="invalid_class", param="label")
