"""Runs one cell: fits every method on the same noisy shots and measures it on the test images."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from torch import Tensor

from benchmarks.noise_robustness import linear, methods
from benchmarks.noise_robustness.baselines import BASELINES, fit_baseline
from benchmarks.noise_robustness.grid import Job, run_grid
from benchmarks.noise_robustness.methods import Bench, Fitted
from benchmarks.noise_robustness.settings import UNLABELLED, Settings, settings_of
from benchmarks.skeleton.program import Document


def measure(options: Namespace, document: Document, console: Console) -> None:
    run_grid("noise_robustness", options, document, console, settings_of(options), CellRunner)


class CellRunner:
    """Runs cells one after the other on one backbone."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._bench = settings, Bench(settings)

    def __call__(self, job: Job) -> dict[str, Any]:
        """Return accuracy (percent) of each method and seconds as plain values."""
        settings, bench, recipe = self._settings, self._bench, self._settings.recipe
        seconds: dict[str, float] = {}
        task = bench.task(job, recipe.n_ctx, recipe.ctx_init, False, recipe.augment_views)
        fitted: dict[str, Fitted] = {"zero_shot": methods.zero_shot(task)}
        if settings.losses:
            with _timed(seconds, "losses"):
                fitted |= methods.tuned_losses(task, settings.losses, recipe)
        if {"default", UNLABELLED} & set(settings.methods):
            config = settings.tune_config(job.cell.seed)
            photos = bench.unlabelled(job) if settings.unlabelled else None
            with _timed(seconds, "default"):
                fitted |= methods.default(bench.service_task(job), config, photos)
        if {"logistic", "logistic_cleanlab"} & set(settings.methods):
            with _timed(seconds, "logistic"):
                c, probabilities = linear.cross_validate(task, settings.logistic_c)
                fitted["logistic"] = linear.logistic(task, c)
                fitted["logistic_cleanlab"] = linear.logistic_cleanlab(task, c, probabilities)
        for name in settings.methods:
            if name in BASELINES:
                with _timed(seconds, name):
                    fitted[name] = fit_baseline(name, task, recipe)
        test, labels = bench.features["test"], bench.features["test_labels"]
        return {
            "methods": {name: _measure(fitted[name], test, labels) for name in settings.methods},
            "seconds": seconds,
        }


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - started, 2)


def _measure(fitted: Fitted, test: Tensor, labels: Tensor) -> dict[str, Any]:
    right = int((fitted.score(test).argmax(1) == labels).sum())
    extra = {"served": fitted.served, "why": fitted.why}
    return {
        "accuracy": 100 * right / len(labels),
        "correct": right,
        **{name: value for name, value in extra.items() if value is not None},
    }
