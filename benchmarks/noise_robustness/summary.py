"""Means and deviations over seeds, and how the default stands to its goals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from benchmarks.noise_robustness.settings import CLEAN, LOSSES

TOLERANCE = 0.5
"""Points that the default may fall below zero-shot."""


@dataclass(frozen=True)
class Score:
    """Accuracy in percent over seeds."""

    mean: float
    std: float | None
    """Of the sample (n - 1); None for a single seed."""
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Score:
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Gap:
    """How far the default is above (below: negative) something, and where."""

    points: float
    dataset: str
    noise: str
    seed: int | None = None


class Results:
    """The finished cells of one number of shots."""

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._found: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
        self.noises: dict[str, Mapping[str, Any]] = {}
        """By name: kind, protocol, rate, column."""
        self.served: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        """noise -> what the default served -> in how many runs."""
        for record in records:
            noise = record["noise"]["name"]
            self.noises[noise] = record["noise"]
            for method, measured in record["methods"].items():
                self._found[method, record["dataset"], noise][record["seed"]] = measured["accuracy"]
            if "default" in record["methods"]:
                self.served[noise][record["methods"]["default"].get("served", "tuned")] += 1
        self.datasets = tuple(dict.fromkeys(record["dataset"] for record in records))
        self.methods = tuple(dict.fromkeys(m for record in records for m in record["methods"]))

    def runs(self, method: str, dataset: str, noise: str) -> dict[int, float]:
        """Seed -> accuracy; empty where no cell is finished."""
        return self._found.get((method, dataset, noise), {})

    def score(self, method: str, dataset: str, noise: str) -> Score | None:
        runs = self.runs(method, dataset, noise)
        return Score.of(list(runs.values())) if runs else None

    def mean_score(self, method: str, noise: str) -> Score | None:
        """Over all data sets: of each seed's mean, for the seeds that all data sets have."""
        runs = [self.runs(method, dataset, noise) for dataset in self.datasets]
        seeds = set.intersection(*(set(found) for found in runs)) if runs else set()
        if not seeds:
            return None
        return Score.of([fmean(found[seed] for found in runs) for seed in sorted(seeds)])

    def sections(self) -> dict[str, tuple[str, ...]]:
        """Protocol -> its noises, the clean cell among each; `human` for human labels."""
        found: dict[str, list[str]] = {}
        for name, noise in self.noises.items():
            if name != CLEAN.name:
                found.setdefault(noise["protocol"] or "human", []).append(name)
        clean = [CLEAN.name] if CLEAN.name in self.noises else []
        if not found:
            return {"clean": tuple(clean)}
        return {
            protocol: (*clean, *sorted(names, key=self._order)) for protocol, names in found.items()
        }

    def _order(self, name: str) -> tuple[bool, float, str]:
        noise = self.noises[name]
        return noise["kind"] != "symmetric", noise["rate"], name


@dataclass(frozen=True)
class Goals:
    """The default over the cells (data set x noise, means over seeds) of one protocol."""

    cells: int
    means: dict[str, float]
    """Mean accuracy of each method."""
    best_single: str | None
    """The single loss with the best mean."""
    hindsight: float | None
    """Mean of the best single loss of each cell."""
    below: tuple[Gap, ...]
    """Cells more than TOLERANCE below zero-shot, the worst first."""
    worst: Gap | None
    """The smallest gap to zero-shot."""
    below_runs: tuple[Gap, ...]
    """The same of single runs."""
    worst_run: Gap | None
    runs: int
    to_ce_when_clean: tuple[Gap, ...]
    """Default less cross-entropy at 0 %, by data set."""


def goals(results: Results, noises: Sequence[str]) -> Goals:
    """How the default stands over these noises. Cells without it are left out."""
    cells = [
        (dataset, noise)
        for dataset in results.datasets
        for noise in noises
        if all(results.runs(method, dataset, noise) for method in results.methods)
    ]

    def mean(method: str, dataset: str, noise: str) -> float:
        return fmean(results.runs(method, dataset, noise).values())

    means = {m: fmean(mean(m, *cell) for cell in cells) for m in results.methods if cells}
    single = [loss for loss in LOSSES if loss in means]
    gaps: list[Gap] = []
    run_gaps: list[Gap] = []
    if {"default", "zero_shot"} <= means.keys():
        for dataset, noise in cells:
            gap = mean("default", dataset, noise) - mean("zero_shot", dataset, noise)
            gaps.append(Gap(gap, dataset, noise))
            prior = results.runs("zero_shot", dataset, noise)
            for seed, accuracy in results.runs("default", dataset, noise).items():
                run_gaps.append(Gap(accuracy - prior[seed], dataset, noise, seed))
    gaps.sort(key=lambda gap: gap.points)
    run_gaps.sort(key=lambda gap: gap.points)
    to_ce = [
        Gap(mean("default", d, n) - mean("ce", d, n), d, n)
        for d, n in cells
        if n == CLEAN.name and {"default", "ce"} <= means.keys()
    ]
    return Goals(
        cells=len(cells),
        means=means,
        best_single=max(single, key=means.__getitem__) if single else None,
        hindsight=fmean(max(mean(m, *cell) for m in single) for cell in cells) if single else None,
        below=tuple(gap for gap in gaps if gap.points < -TOLERANCE),
        worst=gaps[0] if gaps else None,
        below_runs=tuple(gap for gap in run_gaps if gap.points < -TOLERANCE),
        worst_run=run_gaps[0] if run_gaps else None,
        runs=len(run_gaps),
        to_ce_when_clean=tuple(to_ce),
    )
