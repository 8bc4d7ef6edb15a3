"""Accuracies of the finished cells, with means and deviations over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.noise_robustness.settings import CLEAN, UNLABELLED
from benchmarks.skeleton.report import Spread


class Results:
    """The finished cells of one number of shots."""

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._found: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
        self.noises: dict[str, Mapping[str, Any]] = {}
        """Name -> kind, protocol, rate, column."""
        for record in records:
            noise = record["noise"]["name"]
            self.noises[noise] = record["noise"]
            for method, measured in record["methods"].items():
                self._found[method, record["dataset"], noise][record["seed"]] = measured["accuracy"]
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
