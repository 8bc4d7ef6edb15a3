"""What may be deleted, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Longer than any pause between storing a file and committing its row.
GRACE_SECONDS = 3600.0


class Kind(StrEnum):
    #: A file in the storage that no row refers to: its writer died before it could say so.
    ORPHAN = "orphaned file"
    #: Photos that no job used for longer than DSPT_KEEP_DATASETS_DAYS.
    DATASET = "expired data set"
    #: Events of a job that ended longer than DSPT_KEEP_EVENTS_DAYS ago.
    EVENTS = "expired events"
    #: Encoded photos, on this machine, unused for longer than DSPT_KEEP_FEATURES_DAYS.
    FEATURES = "expired features"
    #: State of a tuning, on this machine, whose job has ended.
    CHECKPOINT = "checkpoint of an ended job"
    #: Files, on this machine, of a worker that died.
    SCRATCH = "scratch of a dead worker"


@dataclass(frozen=True)
class Finding:
    """Something that was deleted, or would be."""

    kind: Kind
    name: str
    """A key in the storage, a path, or an id."""
    count: int = 1
    """Files, events or features."""
    size_bytes: int | None = None
    """None where that is not known before."""
