"""The estimator, for scikit-learn's own checks of estimators."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dspt.backbones.base import Backbone
from dspt.estimator import DSPTClassifier


class AnyWidth(DSPTClassifier):  # type: ignore[misc]
    """Accepts any number of columns, for checks that bring their own data."""

    def _matrix(self, matrix: NDArray[np.float32], backbone: Backbone) -> Tensor:
        wide = np.zeros((len(matrix), backbone.embed_dim), np.float32)
        wide[:, : matrix.shape[1]] = matrix[:, : backbone.embed_dim]
        wide[:, -1] = 1  # so that a row of zeros has a direction
        return torch.from_numpy(wide)
