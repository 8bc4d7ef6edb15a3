"""Writes results.json, table.md and the figures from the records of finished cells."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.noise_robustness.cli import Options
from benchmarks.noise_robustness.command import without_folders
from benchmarks.noise_robustness.records import Record
from benchmarks.noise_robustness.table import markdown
from dspt.kit.cpus import available_cpus
from dspt.kit.files import atomic_write

_OF_RECORD = (
    "name",
    "dataset",
    "shots",
    "seed",
    "noise",
    "images",
    "wrong_share",
    "methods",
    "suppression",
    "seconds",
)


def write_report(
    options: Options, records: Sequence[Record], failed: Mapping[str, str]
) -> list[Path]:
    """Write everything to `options.out`; returns the files. `records` must not be empty."""
    # matplotlib is an optional extra, and slow to import
    from benchmarks.noise_robustness.accuracy_figure import accuracy_figures
    from benchmarks.noise_robustness.gradient_figure import gradient_figure

    document = make_document(options, records, failed)
    written = {
        "results.json": dumps(document).encode(),
        "table.md": markdown(document).encode(),
        **accuracy_figures(document),
        **gradient_figure(document),
    }
    for name, data in written.items():
        atomic_write(options.out / name, data)
    return [options.out / name for name in written]


def make_document(
    options: Options, records: Sequence[Record], failed: Mapping[str, str]
) -> dict[str, Any]:
    """The content of results.json: what it takes to run this again, and what came out.

    Flip maps stand in the folder `cells` beside it; here is their digest.
    """
    settings = asdict(options.settings)
    settings["backbone"] = without_folders(options.settings.backbone)
    identities = [json.dumps(record["identity"], sort_keys=True) for record in records]
    return {
        "command": options.command,
        "settings": settings,
        "machine": machine(),
        **json.loads(identities[0]),
        "other_versions": [json.loads(one) for one in sorted(set(identities) - {identities[0]})],
        "datasets": {
            record["dataset"]: {
                "sha256": record["dataset_sha256"],
                "classes": record["classes"],
                "test_images": record["test_images"],
            }
            for record in records
        },
        "failed": dict(failed),
        "cells": [_cell(record) for record in records],
    }


def dumps(document: Mapping[str, Any]) -> str:
    """JSON with one line per cell: short, and differences can be read."""
    head = {name: value for name, value in document.items() if name != "cells"}
    cells = ",\n  ".join(json.dumps(cell) for cell in document["cells"])
    return json.dumps(head, indent=1)[:-2] + f',\n "cells": [\n  {cells}\n ]\n}}\n'


def machine() -> dict[str, Any]:
    """Processor, number of CPUs and system; no name of the machine."""
    return {
        "processor": _processor(),
        "cpus": available_cpus(),
        "cpus_of_machine": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _cell(record: Record) -> dict[str, Any]:
    found = {name: record[name] for name in _OF_RECORD}
    flips = json.dumps([record["files"], record["true"], record["given"]])
    return found | {"flip_map_sha256": hashlib.sha256(flips.encode()).hexdigest()}
