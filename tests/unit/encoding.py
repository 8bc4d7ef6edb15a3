"""Encoding by the plain path, and what encoders are compared by."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dspt.backbones.base import Backbone
from dspt.prompt.learner import ZERO_SHOT_CONTEXT, PromptLearner

# 1, 2, 5, 8, 12 and 20 tokens
WORDS = [
    "dog",
    "fire truck",
    "a very old steam locomotive",
    "satellite imagery of annual crop land and rivers",
    "red and blue parrot on a branch in the green jungle",
    "one two three four five six seven eight nine ten one two three four five six seven eight nine "
    "ten",
]


def contexts(prompts: PromptLearner, backbone: Backbone, runs: int) -> Tensor:
    """Random contexts of the size of token embeddings, larger from run to run."""
    torch.manual_seed(5)
    first = prompts.initial(0)
    sizes = torch.arange(1, runs + 1).view(-1, *[1] * first.ndim)
    return torch.randn(runs, *first.shape) * backbone.text_tower.embedding_std * sizes


def plain(backbone: Backbone, words: list[str], context: Tensor) -> Tensor:
    """Class embeddings of R contexts, one prompt at a time, whatever is shared."""
    tower, tokenizer = backbone.text_tower, backbone.tokenizer
    runs = []
    for shared_or_own in context:
        row = []
        for c, text in enumerate(words):
            own = shared_or_own[c] if shared_or_own.ndim == 3 else shared_or_own
            sentence = tokenizer.encode(f"{ZERO_SHOT_CONTEXT} {text}.")
            body = [*sentence[len(tokenizer.encode(ZERO_SHOT_CONTEXT)) :], *tokenizer.end]
            head = [*tokenizer.start, *[0] * len(own)]
            embeddings = tower.embed(torch.tensor([tower.pad(head + body)])).clone()
            at = len(tokenizer.start)
            embeddings = torch.cat(
                [embeddings[:, :at], own[None], embeddings[:, at + len(own) :]], dim=1
            )
            row.append(tower.encode(embeddings, torch.tensor([len(head) + len(body) - 1]))[0])
        runs.append(torch.stack(row))
    return F.normalize(torch.stack(runs).float(), dim=-1)


def with_gradient(encode: Any, context: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings, and the gradient in the context of a weighted sum of them."""
    context = context.clone().requires_grad_()
    embeddings = encode(context)
    probe = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(9))
    (gradient,) = torch.autograd.grad((embeddings * probe).sum(), context)
    return embeddings.detach(), gradient
