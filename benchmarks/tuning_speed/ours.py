"""This project's trainer as in a job: encodes the photos once, then tunes on their features."""

from __future__ import annotations

import time
from itertools import pairwise

import torch

from benchmarks.tuning_speed.setup import N_CTX, PHOTOS, Case, StepTime, Trainer, clocks, reset_peak
from dspt.features.encode import encode_images
from dspt.prompt.learner import RANDOM, PromptLearner
from dspt.prompt.trainer import EpochReport, TunerState, tune_contexts


class OurTrainer(Trainer):
    """Encodes the photos once; `steps` tunes from the initial context."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._prompts = PromptLearner(self._backbone, self._names, n_ctx=N_CTX, ctx_init=RANDOM)
        self._context = self._prompts.initial(case.seed)
        self._encode()
        self._in_use = reset_peak(case.device)

    def encode_seconds(self) -> float:
        """Return the seconds of one photo, with decoding."""
        return self._seconds

    def _encode(self) -> None:
        started = time.perf_counter()
        features = encode_images(self._backbone, self._dataset)
        self._seconds = (time.perf_counter() - started) / len(features)
        rows = torch.arange(len(self._labels)) % PHOTOS
        self._embeddings = features[rows, :, : self._backbone.embed_dim].to(self._case.device)

    def steps(self, count: int) -> list[StepTime]:
        """Run the epoch of `case.steps` steps from the initial context; a step is its text part.

        Raises ValueError for another `count`.
        """
        case = self._case
        if count != case.steps:
            raise ValueError(f"count must be {case.steps}, not {count}")
        marks: list[tuple[float, float]] = []

        def mark() -> bool:
            marks.append(clocks(case.device))
            return False

        def at_end(report: EpochReport, state: TunerState) -> None:
            mark()

        tuned = tune_contexts(
            self._prompts,
            self._embeddings,
            self._labels,
            [case.run],
            case.schedule,
            logit_scale=self._backbone.logit_scale,
            gradient_scale=1.0,
            autocast=case.autocast,
            on_epoch=at_end,
            should_stop=mark,  # called before every step
        )
        self._context = tuned[0]
        found = []
        for (before, before_cpu), (after, after_cpu) in pairwise(marks):
            seconds, cpu = after - before, after_cpu - before_cpu
            found.append(StepTime(seconds, seconds, cpu, cpu))
        return found
