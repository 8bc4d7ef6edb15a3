"""Times our text step for several numbers of classes, lengths of names and numbers of runs."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.tuning_speed.setup import BATCH, N_CTX, Case, build_backbone, class_names, clocks
from dspt.prompt.learner import RANDOM, PromptLearner

LONG_NAME = "one two three four five six seven eight nine ten " * 2
"""20 tokens."""


class Growth:
    """Times all sizes in turns."""

    def __init__(self, case: Case) -> None:
        self._case = case
        _, self._backbone = build_backbone(case.backbone, case.seed, case.device)

    def measure(self, counts: list[int], rounds: int) -> list[dict[str, Any]]:
        """Return a row per number of classes, and two for the first: a long name, 8 runs.

        A row is one text step of ours: forward, loss and backward. tokens: suffix tokens of one
        run (class words, full stop and end token of each class). seconds, cpu_seconds: medians, by
        the clock and of all CPUs together.
        """
        sizes = [(f"{count} classes", class_names(count), 1) for count in counts]
        few = class_names(counts[0])
        sizes.append((f"{counts[0]} classes, one of 20 tokens", [*few[1:], LONG_NAME.strip()], 1))
        sizes.append((f"{counts[0]} classes, 8 runs at once", few, 8))
        steps = [self._step(names, runs) for _, names, runs in sizes]
        seconds: list[list[tuple[float, float]]] = [[] for _ in sizes]
        for number in range(rounds + 1):
            for step, taken in zip(steps, seconds, strict=True):
                started, started_cpu = clocks(self._case.device)
                step()
                done, done_cpu = clocks(self._case.device)
                if number:  # the first round warms up
                    taken.append((done - started, done_cpu - started_cpu))
        encode = self._backbone.tokenizer.encode
        rows = []
        for (what, names, runs), taken in zip(sizes, seconds, strict=True):
            tokens = sum(len(encode(f"{name}.")) + 1 for name in names)
            cpu = median(cpu for _, cpu in taken)
            row = {"what": what, "precision": self._case.precision, "classes": len(names)}
            row |= {"runs": runs, "tokens": tokens, "cpu_seconds": cpu}
            row["seconds"] = median(wall for wall, _ in taken)
            row["cpu_microseconds_per_token"] = 1e6 * cpu / (tokens * runs)
            rows.append(row)
        return rows

    def _step(self, names: list[str], runs: int) -> Callable[[], None]:
        case = self._case
        prompts = PromptLearner(self._backbone, names, n_ctx=N_CTX, ctx_init=RANDOM)
        context = torch.stack([prompts.initial(seed) for seed in range(runs)]).requires_grad_()
        torch.manual_seed(case.seed)
        features = F.normalize(torch.randn(BATCH, self._backbone.embed_dim), dim=-1)
        features = features.to(case.device)
        labels = torch.randint(len(names), (runs * BATCH,)).to(case.device)

        def step() -> None:
            on = case.autocast is not None
            with torch.autocast(case.device, case.autocast, enabled=on):
                classes = prompts.encode(context)
            logits = self._backbone.logit_scale * features @ classes.mT
            torch.autograd.grad(F.cross_entropy(logits.flatten(0, 1), labels), context)

        return step
