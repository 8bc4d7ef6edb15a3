"""Measures cells: every method ranks the same few shots by how likely their label is wrong."""

from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.audit_quality import rankings
from benchmarks.audit_quality.rankings import CLEANLAB_SCORES, by_cleanlab
from benchmarks.noise_robustness import linear
from benchmarks.noise_robustness.grid import Job, run_grid
from benchmarks.noise_robustness.methods import Bench
from benchmarks.noise_robustness.settings import Settings, settings_of
from benchmarks.skeleton.program import Document
from dspt.classifier.fit import fit
from dspt.labels.audit import AuditReport


def measure(options: Namespace, document: Document, console: Console) -> None:
    settings = settings_of(
        options,
        recipe="project",
        epochs=None,
        methods=("default",) if options.audit_only else ("default", "logistic"),
        shots=[options.shots],
        protocols=[options.protocol],
        default_config=options.config,
    )
    run_grid("audit_quality", options, document, console, settings, CellRunner)


class CellRunner:
    """Measures cells one after the other."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._bench = settings, Bench(settings)

    def __call__(self, job: Job) -> dict[str, Any]:
        """Return the scores of all rankings, suspects, noise rate and seconds as plain values."""
        start = time.monotonic()
        task = self._bench.service_task(job)
        config = self._settings.tune_config(job.cell.seed)
        _, fitted = fit(
            task.backbone, task.prompts, task.zero_shot, task.features, task.given, config
        )
        names = [str(row) for row in range(len(job.given))]
        classes = [str(c) for c in range(task.n_classes)]
        report = fitted.audit(names, classes, task.given, task.features[:, 0])
        wrong = job.given != job.true
        ranked = {"ours": _places(report, len(wrong))}
        flags = {"ours": np.isin(names, [entry.file for entry in report.suspects])}
        if "logistic" in self._settings.methods:
            _, logistic = linear.cross_validate(task, self._settings.logistic_c)
            ours = fitted.ensemble.log_p.double().exp().cpu().numpy()
            ranked |= _by_all_cleanlab("cleanlab", logistic, job.given)
            ranked |= _by_all_cleanlab("ours_cleanlab", ours, job.given)
            flags |= {
                "cleanlab": linear.issues(job.given, rankings.safe(logistic)),
                "ours_cleanlab": linear.issues(job.given, rankings.safe(ours)),
            }
        return {
            "rankings": {
                name: rankings.rank_scores(found, wrong) for name, found in ranked.items()
            },
            "flags": {name: rankings.flag_scores(found, wrong) for name, found in flags.items()},
            "expected": _expected(report, wrong),
            "can_tell": report.can_tell,
            "noise_rate": asdict(report.noise_rate) if report.noise_rate else None,
            "seconds": round(time.monotonic() - start, 2),
        }


def _places(report: AuditReport, n: int) -> NDArray[np.float64]:
    """Return (N,) the distance of each file from the end of the audit's list."""
    found = np.empty(n)
    found[[int(entry.file) for entry in report.entries]] = np.arange(n, 0, -1)
    return found


def _expected(report: AuditReport, wrong: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Return the expected and the found wrong labels among the first entries, for each step."""
    found = wrong[[int(entry.file) for entry in report.entries]].cumsum()
    return [
        step | {"found": int(found[step["first"] - 1])}
        for step in report.to_dict()["expected_wrong"]
    ]


def _by_all_cleanlab(
    prefix: str, probabilities: NDArray[np.float64], given: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    return {f"{prefix}_{name}": by_cleanlab(probabilities, given, name) for name in CLEANLAB_SCORES}
