"""NLPrompt in full: optimal transport splits the labels, clean ones get CE and the others MAE.

Pan et al., "NLPrompt: Noise-Label Prompt Learning for Vision-Language Models", CVPR 2025. The
transport plan between images and classes has the cost -log p, uniform marginals and entropy 0.01
(Sinkhorn); a label is clean if it is the image's largest entry. An epoch takes a step of CE on the
clean labels, then one of MAE on the others. The plan is renewed every fifth epoch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.noise_robustness.methods import Fitted, Task, by_embeddings
from benchmarks.noise_robustness.settings import Recipe
from dspt.config import LossName
from dspt.prompt.losses import per_sample_loss
from dspt.prompt.schedule import Schedule
from dspt.prompt.step import MOMENTUM, WEIGHT_DECAY
from dspt.prompt.trainer import lr_scale_for

ENTROPY, ITERATIONS, RENEWED_EVERY = 0.01, 200, 5


def nlprompt(task: Task, recipe: Recipe) -> Fitted:
    """Tune a prompt on all noisy labels."""
    features, given = task.features[:, 0], task.given
    schedule = Schedule(recipe.epochs, recipe.batch_size)
    scale = lr_scale_for(task.backbone.text_tower.embedding_std)
    context = task.prompts.initial(task.seed)[None]
    momentum = torch.zeros_like(context)
    clean = torch.ones_like(given, dtype=torch.bool)
    for epoch in range(recipe.epochs):
        if epoch % RENEWED_EVERY == 0:
            clean = transported(_logits(task, features, context)) == given
        rate = schedule.lr_at(epoch, recipe.lr["ce"])
        steps: tuple[tuple[LossName, Tensor], ...] = (("ce", clean), ("mae", ~clean))
        for loss, rows in steps:
            if not rows.any():
                continue
            gradient = _gradient(task, features[rows], given[rows], context, loss)
            momentum = MOMENTUM * momentum + gradient * scale + WEIGHT_DECAY * context
            context = context - rate * momentum
    with torch.inference_mode():
        classes = task.prompts.encode(context)[0]
    return Fitted(by_embeddings(classes, task.logit_scale), why=f"{int(clean.sum())} called clean")


def transported(logits: Tensor) -> Tensor:
    """Return (N,) the class of each image in a transport plan that gives all classes as much.

    Sinkhorn's iterations in the log domain. logits: (N, C).
    """
    n, n_classes = logits.shape
    kernel = logits.double().log_softmax(1) / ENTROPY
    columns = torch.zeros(n_classes).to(kernel)
    for _ in range(ITERATIONS):
        rows = -math.log(n) - (kernel + columns).logsumexp(1)
        columns = -math.log(n_classes) - (kernel + rows[:, None]).logsumexp(0)
    return (kernel + columns).argmax(1)


def _logits(task: Task, features: Tensor, context: Tensor) -> Tensor:
    with torch.inference_mode():
        return task.logit_scale * features @ task.prompts.encode(context)[0].T


def _gradient(
    task: Task, features: Tensor, labels: Tensor, context: Tensor, loss: LossName
) -> Tensor:
    leaf = context.detach().requires_grad_(True)
    enabled = task.autocast is not None
    with torch.autocast(features.device.type, task.autocast, enabled=enabled):
        classes = task.prompts.encode(leaf)[0]
    logits = task.logit_scale * features @ classes.T
    (gradient,) = torch.autograd.grad(per_sample_loss(loss, logits, labels).mean(), leaf)
    return gradient
