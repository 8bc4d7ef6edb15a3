"""The field's baselines, one file each, on the same features, flips and seeds as every method.

They are written from the papers' equations. Settings that a paper takes from a clean validation set
are chosen by cross-validation on the noisy labels, and the last epoch is used: clean labels are
what this benchmark lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchmarks.noise_robustness.baselines import (
    clap,
    elr,
    gda,
    lp_plus,
    nlprompt,
    tip_adapter,
    transclip,
)
from benchmarks.noise_robustness.methods import Fitted, Task
from benchmarks.noise_robustness.settings import Recipe

BASELINES: dict[str, Callable[[Task, Recipe], Fitted]] = {
    "gda": lambda task, _: gda.gda(task),
    "gda_text": lambda task, _: gda.gda_text(task),
    "tip_adapter_f": lambda task, _: tip_adapter.tip_adapter_f(task),
    "clap_gce": lambda task, _: clap.clap_gce(task),
    "lp_plus": lambda task, _: lp_plus.lp_plus(task),
    "elr": lambda task, _: elr.elr(task),
    "nlprompt": nlprompt.nlprompt,
    "transclip": lambda task, _: transclip.transclip(task),
}


def fit_baseline(name: str, task: Task, recipe: Recipe) -> Fitted:
    """Fit a baseline on the embeddings alone, as its authors do."""
    width = task.zero_shot.shape[1]
    fitted = BASELINES[name](replace(task, features=task.embeddings), recipe)
    return replace(fitted, score=lambda images: fitted.score(images[:, :width]))
