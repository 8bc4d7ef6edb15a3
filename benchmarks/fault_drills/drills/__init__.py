"""All drills, by what they harm."""

from __future__ import annotations

from benchmarks.fault_drills.drills import api, services, surroundings, workers
from benchmarks.fault_drills.trial import ALL

__all__ = ["ALL", "api", "services", "surroundings", "workers"]
