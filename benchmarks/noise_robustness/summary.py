"""Means and deviations over seeds, and the default compared with its goals."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.noise_robustness.settings import CLEAN, LOSSES, UNLABELLED
from benchmarks.skeleton.report import Spread

TOLERANCE = 0.5
"""Points that the default may fall below zero-shot."""


@dataclass(frozen=True)
class Gap:
    """Accuracy of the default minus that of another method."""

    points: float
    dataset: str
    noise: str
    seed: int | None = None
    """None: mean over the seeds."""


class Results:
    """The finished cells of one number of shots."""

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._found: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
        self.noises: dict[str, Mapping[str, Any]] = {}
        """Name -> kind, protocol, rate, column."""
        self.served: dict[str, Counter[str]] = defaultdict(Counter)
        """Noise -> what the default served -> number of runs."""
        for record in records:
            noise = record["noise"]["name"]
            self.noises[noise] = record["noise"]
            for method, measured in record["methods"].items():
                self._found[method, record["dataset"], noise][record["seed"]] = measured["accuracy"]
            if "default" in record["methods"]:
                self.served[noise][record["methods"]["default"].get("served", "tuned")] += 1
        self.datasets = tuple(dict.fromkeys(record["dataset"] for record in records))
        methods = dict.fromkeys(m for record in records for m in record["methods"])
        self.methods = tuple(method for method in methods if method != UNLABELLED)
        """Without UNLABELLED, which is reported apart."""
        self.has_unlabelled = {"default", UNLABELLED} <= methods.keys()

    def runs(self, method: str, dataset: str, noise: str) -> dict[int, float]:
        """Return seed -> accuracy; empty if no cell is finished."""
        return self._found.get((method, dataset, noise), {})

    def gains(self, dataset: str, noise: str) -> list[float]:
        """Return what unlabelled photos add to the default, by seed; empty if not measured."""
        found, without = (self.runs(method, dataset, noise) for method in (UNLABELLED, "default"))
        return [accuracy - without[seed] for seed, accuracy in found.items() if seed in without]

    def score(self, method: str, dataset: str, noise: str) -> Spread | None:
        """Return the accuracy over the seeds."""
        runs = self.runs(method, dataset, noise)
        return Spread.of(list(runs.values())) if runs else None

    def mean_score(self, method: str, noise: str) -> Spread | None:
        """Return each seed's mean over all data sets, over the seeds that all data sets have."""
        runs = [self.runs(method, dataset, noise) for dataset in self.datasets]
        seeds = set.intersection(*(set(found) for found in runs)) if runs else set()
        if not seeds:
            return None
        return Spread.of([fmean(found[seed] for found in runs) for seed in sorted(seeds)])

    def sections(self) -> dict[str, list[str]]:
        """Return protocol -> its noises, CLEAN included; `human` for labels by annotators."""
        clean = [CLEAN.name] if CLEAN.name in self.noises else []
        found: dict[str, list[str]] = {}
        for name in sorted(set(self.noises) - {CLEAN.name}, key=self._order):
            found.setdefault(self.noises[name]["protocol"] or "human", list(clean)).append(name)
        return dict(sorted(found.items())) or {"clean": clean}

    def kinds(self, noises: Sequence[str]) -> dict[str, list[str]]:
        """Return kind -> its noises among `noises`, CLEAN included."""
        kinds = dict.fromkeys(self.noises[name]["kind"] for name in noises if name != CLEAN.name)
        return {
            kind: [n for n in noises if n == CLEAN.name or self.noises[n]["kind"] == kind]
            for kind in kinds or ["clean"]
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
    to_zero_shot: tuple[Gap, ...]
    """By cell, the worst first."""
    run_to_zero_shot: tuple[Gap, ...]
    """By single run, the worst first."""
    to_ce_when_clean: tuple[Gap, ...]
    """To cross-entropy without wrong labels, by data set."""


def goals(results: Results, noises: Sequence[str]) -> Goals:
    """Return how the default compares over these noises; cells that lack a method are ignored."""
    cells = [
        (dataset, noise)
        for dataset in results.datasets
        for noise in noises
        if all(results.runs(method, dataset, noise) for method in results.methods)
    ]

    def mean(method: str, cell: tuple[str, str]) -> float:
        return fmean(results.runs(method, *cell).values())

    def gaps(other: str) -> Iterator[Gap]:
        if {"default", other} <= means.keys():
            for cell in cells:
                yield Gap(mean("default", cell) - mean(other, cell), *cell)

    def run_gaps(other: str) -> Iterator[Gap]:
        for cell in cells if {"default", other} <= means.keys() else ():
            others = results.runs(other, *cell)
            for seed, accuracy in results.runs("default", *cell).items():
                yield Gap(accuracy - others[seed], *cell, seed)

    def worst_first(found: Iterator[Gap]) -> tuple[Gap, ...]:
        return tuple(sorted(found, key=lambda gap: gap.points))

    means = {m: fmean(mean(m, cell) for cell in cells) for m in results.methods if cells}
    single = [loss for loss in LOSSES if loss in means]
    best = [max(mean(loss, cell) for loss in single) for cell in cells] if single else []
    return Goals(
        cells=len(cells),
        means=means,
        best_single=max(single, key=means.__getitem__) if single else None,
        hindsight=fmean(best) if best else None,
        to_zero_shot=worst_first(gaps("zero_shot")),
        run_to_zero_shot=worst_first(run_gaps("zero_shot")),
        to_ce_when_clean=tuple(gap for gap in gaps("ce") if gap.noise == CLEAN.name),
    )
