"""Kinds of garbage, and reports of what was deleted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Longer than the time between storing a file and committing its row.
GRACE_SECONDS = 3600.0


class Kind(StrEnum):
    #: A stored file without a row: its writer died before it could add the row.
    ORPHAN = "orphaned file"
    #: Photos that no job has used for DSPT_KEEP_DATASETS_DAYS.
    DATASET = "expired data set"
    #: Deliveries of a webhook that ended long ago.
    DELIVERIES = "old webhook deliveries"
    #: Parts of an upload of which none arrived for a day.
    UPLOAD = "expired upload"
    #: A batch or a comparison that ended more than DSPT_KEEP_BATCHES_DAYS ago.
    RUN = "expired batch or comparison"
    #: A file in the trash for more than DSPT_TRASH_DAYS.
    TRASH = "old trash"
    #: A file in the trash that a row of the database refers to.
    NEEDED = "needed file in the trash"
    #: Events of a job that ended more than DSPT_KEEP_EVENTS_DAYS ago.
    EVENTS = "expired events"
    #: Events between those kept of a job that ended an hour ago.
    THINNED = "thinned events"
    #: Encoded photos on this machine that were not used for DSPT_KEEP_FEATURES_DAYS, or in the
    #: storage that were stored before, or of a deleted data set.
    FEATURES = "expired features"
    #: Photos and answers of predictions with `capture`: too old, too many, or of a deleted model.
    CAPTURE = "expired predictions"
    #: Checkpoint, on this machine or in the storage, of a job that has ended.
    CHECKPOINT = "checkpoint of an ended job"
    #: Thumbnails on this machine of photos that were deleted.
    PICTURES = "thumbnails of deleted photos"
    #: Temporary files on this machine of a dead worker.
    SCRATCH = "scratch of a dead worker"


#: Kinds of which the files are moved to the trash; NEEDED is moved back; all others are deleted.
MOVED_TO_TRASH = frozenset({Kind.ORPHAN, Kind.DATASET})


@dataclass(frozen=True)
class Finding:
    """An item that was deleted or moved, or would be."""

    kind: Kind
    name: str
    """A storage key, a path or an id."""
    count: int = 1
    """Number of files, events or features."""
    size_bytes: int | None = None
    """None if unknown."""
