"""Keep photos and answers of predictions, for feedback and drift."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from dspt_client.schemas.predictions import ImageProblem
from sqlalchemy.exc import IntegrityError

from app.captures import retention
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.control_characters import cleaned
from app.kit.db import UNAVAILABLE, database_now
from app.kit.http.errors import ApiError, NotFound
from app.kit.ids import new_id
from app.models.resolve import ResolvedModel
from app.quotas import service as quotas
from app.tables.captures import CapturedPrediction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Features = NDArray[np.float16]

_log = structlog.get_logger(__name__)
#: Longest name of a file that is kept.
_FILE_CHARACTERS = 255


@dataclass(frozen=True)
class Captured:
    """What is kept of the answer for one image."""

    file: str
    data: bytes
    """The file as it was sent."""
    predicted: str
    score: float
    margin: float
    features: Features
    distance: float | None = None


def store(context: Context, model: ResolvedModel, captured: Sequence[Captured]) -> list[str]:
    """Store the photos with their answers; return the id of each.

    The owner of the model owns them. Raises TooManyRequests if the owner's quota is exceeded,
    NotFound if the model was deleted meanwhile, and OSError if the storage fails; then none is
    stored.
    """
    ids = [new_id("prd") for _ in captured]
    if not ids:
        return []
    try:
        for id_, each in zip(ids, captured, strict=True):
            context.storage.put_bytes(storage_keys.capture(id_), each.data)
        with context.database.write() as session:
            now = database_now(session)
            session.add_all(
                CapturedPrediction(
                    id=id_,
                    owner=model.owner,
                    model_id=model.id,
                    created_at=now,
                    file=cleaned(each.file)[-_FILE_CHARACTERS:],
                    predicted=each.predicted,
                    score=each.score,
                    margin=each.margin,
                    features=encoded(each.features),
                    distance=each.distance,
                    size_bytes=len(each.data),
                )
                for id_, each in zip(ids, captured, strict=True)
            )
            quotas.check_bytes(session, context.settings, model.owner)
    except (ApiError, IntegrityError, OSError) as error:  # after another one it may be committed
        with suppress(OSError):  # what remains is garbage, which is collected later
            for id_ in ids:
                context.storage.delete(storage_keys.capture(id_))
        if isinstance(error, IntegrityError):
            raise NotFound("The model was deleted.", code="model_not_found") from error
        raise
    retention.prune(context, model.id)
    return ids


def store_or_explain(
    context: Context, model: ResolvedModel, captured: Sequence[Captured]
) -> list[str] | ImageProblem:
    """Do what `store` does; return why nothing was stored, so that the predictions still count."""
    try:
        return store(context, model, captured)
    except ApiError as error:
        return ImageProblem(code=error.code, message=str(error.detail))
    except (OSError, *UNAVAILABLE) as error:
        _log.warning("predictions were not captured", error=str(error), model_id=model.id)
        return ImageProblem(code="storage_unavailable", message="The photo could not be stored.")


def encoded(features: Features) -> str:
    """Return features as text, which a backup can hold."""
    return base64.b64encode(features.tobytes()).decode()
