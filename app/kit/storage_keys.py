"""Names of all files in the storage, for the code that writes and the code that deletes them.

Garbage collection touches only names of these shapes, so that it cannot delete foreign files.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import date

from app.kit.ids import ID_BODY

#: Id of the installation that the storage belongs to.
INSTALLATION = "installation.json"
#: Key of the service (app.kit.signing_key). Never garbage, and in no backup.
SIGNING_KEY = "signing.key"

_FILE = (
    rf"datasets/ds_{ID_BODY}\.(zip|json)"
    rf"|models/mdl_{ID_BODY}\.safetensors"
    rf"|(audits|predictions)/mdl_{ID_BODY}\.json"
    rf"|uploads/upl_{ID_BODY}/\d{{1,7}}"
    rf"|batches/bat_{ID_BODY}\.zip"
    rf"|captures/prd_{ID_BODY}"
    r"|checks/[0-9a-f]{16}"
)
_OWN = re.compile(_FILE)
#: What the service can compute again: in no backup, and never moved to the trash.
_FEATURES = re.compile(rf"features/(?P<dataset>ds_{ID_BODY})/[0-9a-f]{{64}}\.safetensors")
_CHECKPOINT = re.compile(rf"checkpoints/(?P<job>job_{ID_BODY})\.safetensors")
_PART = re.compile(r"(?P<folder>.*/)\.(?P<name>[^/]+)\.[0-9a-f]{8}")
_TRASHED = re.compile(r"trash/(?P<day>\d{4}-\d{2}-\d{2})/(?P<name>.+)")


def dataset(dataset_id: str, *, corrections: bool) -> str:
    """Return the key of an uploaded zip, or of corrections."""
    return f"datasets/{dataset_id}.{'json' if corrections else 'zip'}"


def model(model_id: str) -> str:
    """Return the key of a model's artefact."""
    return f"models/{model_id}.safetensors"


def audit(model_id: str) -> str:
    """Return the key of the audit that was made with a model."""
    return f"audits/{model_id}.json"


def predictions(model_id: str) -> str:
    """Return the key of a model's predictions for the images that it was measured on."""
    return f"predictions/{model_id}.json"


def upload_part(upload_id: str, number: int) -> str:
    """Return the key of a part of an upload that is not complete."""
    return f"uploads/{upload_id}/{number}"


def batch(batch_id: str) -> str:
    """Return the key of the zip that was uploaded for a batch."""
    return f"batches/{batch_id}.zip"


def capture(prediction_id: str) -> str:
    """Return the key of the photo of a captured prediction."""
    return f"captures/{prediction_id}"


def features(dataset_id: str) -> str:
    """Return the folder of the encoded photos of a data set."""
    return f"features/{dataset_id}"


def checkpoint(job_id: str) -> str:
    """Return the key of the checkpoint of a job that has not ended."""
    return f"checkpoints/{job_id}.safetensors"


def dataset_of(name: str) -> str | None:
    """Return the id of the data set whose encoded photos a file has; None for any other file."""
    found = _FEATURES.fullmatch(name)
    return None if found is None else found["dataset"]


def job_of(name: str) -> str | None:
    """Return the id of the job whose checkpoint a file is; None for any other file."""
    found = _CHECKPOINT.fullmatch(name)
    return None if found is None else found["job"]


def check() -> str:
    """Return a new key for a test file."""
    return f"checks/{secrets.token_hex(8)}"


def part(file_name: str) -> str:
    """Return a new name, in the same folder, for a file that is still being written."""
    return f".{file_name}.{secrets.token_hex(4)}"


def whole(name: str) -> str:
    """Return the name that a file gets once it is written; other names as they are."""
    partial = _PART.fullmatch(name)
    return name if partial is None else partial["folder"] + partial["name"]


def is_own(name: str) -> bool:
    """Return whether the service writes files of this name, outside the trash.

    Not those of encoded photos and checkpoints.
    """
    return _OWN.fullmatch(whole(name)) is not None


@dataclass(frozen=True)
class Trashed:
    """A file in the trash."""

    day: date
    """The day on which it was moved there (UTC)."""
    name: str
    """Its name before."""


def trash(name: str, day: date) -> str:
    """Return the name in the trash of a file that is moved there on `day`."""
    return f"trash/{day.isoformat()}/{name}"


def trashed(name: str) -> Trashed | None:
    """Parse a name in the trash; None for any other name."""
    found = _TRASHED.fullmatch(name)
    if found is None or not is_own(found["name"]):
        return None
    try:
        return Trashed(date.fromisoformat(found["day"]), found["name"])
    except ValueError:  # such as 2026-02-31
        return None
