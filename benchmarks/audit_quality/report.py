"""What goes into the JSON: all it takes to run this again, and the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.noise_robustness.command import without_folders
from benchmarks.noise_robustness.records import Record
from benchmarks.noise_robustness.report import machine
from benchmarks.noise_robustness.settings import Settings

_OF_CELL = (
    "name",
    "dataset",
    "shots",
    "seed",
    "noise",
    "images",
    "wrong_share",
    "rankings",
    "flags",
    "can_tell",
    "noise_rate",
    "logistic_c",
    "seconds",
)


def make_document(
    command: str, settings: Settings, records: Sequence[Record], failed: Mapping[str, str]
) -> dict[str, Any]:
    """Content of the JSON. Flip maps stay in the folder of finished cells."""
    told = {
        "shots": settings.shots,
        "seeds": settings.seeds,
        "noises": [asdict(noise) | {"name": noise.name} for noise in settings.noises],
        "backbone": without_folders(settings.backbone),
        "config": settings.tune_config(0).model_dump(exclude={"seed", "backbone"}),
    }
    return {
        "command": command,
        "settings": told,
        "machine": machine(),
        **records[0]["identity"],
        "failed": dict(failed),
        "cells": [{name: record[name] for name in _OF_CELL} for record in records],
    }
