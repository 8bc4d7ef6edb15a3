"""Which classes a step encodes where there are too many to encode all of them in every step.

An epoch divides the classes among its steps. A step shows the photos of its classes, and their
softmax is over these classes alone. The division is along a random direction of the untuned class
embeddings, so a class meets its neighbours, others in each epoch: random classes are mostly easy to
tell apart.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from dspt.prompt.learner import PromptLearner

STEP_CLASSES = 128
"""Approximate number of classes per step of a job. Used if there are more than twice as many;
otherwise a step encodes all."""


class ClassDraw:
    """Divides the classes of `prompts` among steps of about `most` classes.

    Each step has as many classes of each of the `length_groups`, so that its shapes do not change.
    """

    def __init__(self, prompts: PromptLearner, most: int, seed: int) -> None:
        self._groups = [np.array(group) for group in prompts.length_groups]
        with torch.no_grad():
            self._embeddings = prompts.encode(prompts.initial(seed)[None])[0].cpu().numpy()
        self.n_classes = prompts.n_classes
        self.steps = math.ceil(self.n_classes / most)
        self.sizes = [math.ceil(len(group) / self.steps) for group in self._groups]
        """Classes of each of the `length_groups` in a step."""

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the classes of each step: (steps, K), by length group.

        Each class is in at least one step. Some are in several, where a group cannot be divided
        evenly; of a group with fewer classes than steps, all.
        """
        along = self._embeddings @ rng.normal(size=self._embeddings.shape[1])
        parts = []
        for group, size in zip(self._groups, self.sizes, strict=True):
            ordered = group[np.argsort(along[group], kind="stable")]
            first = np.linspace(0, len(group) - size, self.steps).round().astype(np.int64)
            parts.append(ordered[first[:, None] + np.arange(size)])
        return np.concatenate(parts, axis=1)
