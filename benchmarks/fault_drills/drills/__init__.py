"""All drills, in the order in which they run."""

from __future__ import annotations

from benchmarks.fault_drills.drills import api, services, surroundings, workers
from benchmarks.fault_drills.trial import Drill

ALL: tuple[Drill, ...] = (
    *workers.DRILLS,
    *services.DRILLS,
    *api.DRILLS,
    *surroundings.DRILLS,
)
