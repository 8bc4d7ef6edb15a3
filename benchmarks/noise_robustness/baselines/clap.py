"""CLAP with GCE: a linear probe that starts at zero-shot and is pulled back to it, per class.

Silva-Rodriguez et al., "A Closer Look at the Few-Shot Adaptation of Large Vision-Language Models",
CVPR 2024: the penalty of a class is the mean probability that zero-shot gives to its label. SGD at
0.1, 300 epochs, batches of 256. Their cross-entropy is replaced by GCE (Zhang & Sabuncu, NeurIPS
2018, q = 0.7), which is robust to wrong labels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.noise_robustness.baselines.fitting import train
from benchmarks.noise_robustness.methods import Fitted, Task, by_embeddings
from dspt.prompt.losses import per_sample_loss


def clap_gce(task: Task) -> Fitted:
    """Train the probe on all noisy labels."""
    pull = penalties(task)
    weights = task.zero_shot.clone()

    def loss(images: Tensor, rows: Tensor) -> Tensor:
        logits = task.logit_scale * images @ F.normalize(weights, dim=1).T
        fit = per_sample_loss("gce", logits, task.given[rows]).mean()
        return fit + (pull * (weights - task.zero_shot).square().sum(1)).mean()

    train(task, [weights], loss)
    return Fitted(by_embeddings(F.normalize(weights, dim=1), task.logit_scale))


def penalties(task: Task) -> Tensor:
    """Return (C,): mean zero-shot probability of the label, over the images with that label."""
    logits = task.logit_scale * task.features[:, 0] @ task.zero_shot.T
    p = logits.softmax(1).gather(1, task.given[:, None])[:, 0]
    counts = torch.bincount(task.given, minlength=task.n_classes)
    return torch.zeros(task.n_classes).to(p).index_add_(0, task.given, p) / counts.clamp_min(1)
