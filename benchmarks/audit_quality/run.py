"""The grid: data sets encoded once, cells measured one after the other, finished ones kept."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.audit_quality import measure, rankings, scores
from benchmarks.noise_robustness.console import grid_bar
from benchmarks.noise_robustness.datasets import find_sets
from benchmarks.noise_robustness.prepare import (
    encode_all,
    make_job,
    read_given_labels,
    unique_names,
)
from benchmarks.noise_robustness.records import (
    Record,
    Records,
    cell_key,
    digest_of_code,
    identity_of,
    make_record,
)
from benchmarks.noise_robustness.settings import Settings
from dspt.backbones import load_backbone
from dspt.features.store import FeatureStore
from dspt.kit.device import resolve_device


def run_grid(
    data: Sequence[Path],
    settings: Settings,
    given_labels: Path | None,
    *,
    cells: Path,
    features: Path,
    console: Console,
) -> tuple[list[Record], dict[str, str]]:
    """Measure every cell that has no record in the folder `cells` yet.

    given_labels: table of labels for noise of kind `human`. Returns the records in the grid's order
    and, by cell, what was wrong where data cannot have a noise. Raises DsptError.
    """
    paths = [found for path in data for found in find_sets(path)]
    grid = settings.cells(unique_names(paths))
    human = read_given_labels(given_labels, settings)
    backbone = load_backbone(settings.backbone, device=resolve_device(settings.device))
    identity = identity_of(backbone, settings) | {"audit_code": _code()}
    store = FeatureStore(features, on_failure=lambda text: console.print(text, style="red"))
    records = Records(cells)
    bench = measure.Bench(settings, backbone)
    finished: list[Record] = []
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="dspt-audit-") as folder, grid_bar(console) as bar:
        sets = encode_all(paths, settings, backbone, Path(folder), store, bar)
        task = bar.add_task("cells", total=len(grid))
        for cell in grid:
            bar.update(task, description=cell.name)
            try:
                job = make_job(cell, sets, human)
            except ValueError as error:  # this set cannot have this noise
                failed[cell.name] = str(error)
                bar.advance(task)
                continue
            data_set = sets[cell.dataset]
            key = cell_key(job, data_set, settings, identity)
            record = records.get(cell, key)
            if record is None:
                result: dict[str, Any] = bench.measure(job)
                record = make_record(job, data_set, key, identity, result)
                records.put(cell, record)
            finished.append(record)
            bar.advance(task)
    return finished, failed


def _code() -> str:
    return digest_of_code(Path(str(module.__file__)) for module in (measure, rankings, scores))
