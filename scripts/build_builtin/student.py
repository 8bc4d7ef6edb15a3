"""The student: its initialisation, and its rescaling to CLIP's scale after training."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.transformer import TextTransformer
from torch import Tensor

from dspt.backbones.builtin.model import text_tower

START, END = 49406, 49407
TOKEN_STD = 0.05
"""Standard deviation of token embeddings in training; the learning rates depend on it."""
CLIP_TOKEN_STD = 0.015
"""Standard deviation in released CLIPs, so that learning rates of prompt tuning carry over."""


def new_student(token_targets: Tensor, generator: torch.Generator) -> TextTransformer:
    """A text tower that starts as a bag of words.

    token_targets: (V, 512), the target of each token's own text. Token embeddings are their
    principal components, the first block's attention averages them with small weight, the
    projection turns principal components back into the joint space. Without it the student
    needs many times the steps to learn 49,408 words.
    """
    student = text_tower()
    width = student.width

    def noise(like: Tensor, std: float) -> Tensor:
        return torch.randn(like.shape, generator=generator) * std

    covariance = torch.cov(token_targets.T.double())
    basis = torch.linalg.eigh(covariance)[1].flip(1)[:, :width].float()
    basis = basis * basis[basis.abs().argmax(0), torch.arange(width)].sign()
    components = token_targets @ basis
    with torch.no_grad():
        tokens = student.token_embedding.weight
        tokens.copy_(components / components.std() * TOKEN_STD)
        for special in (START, END):
            tokens[special] = noise(tokens[special], TOKEN_STD)
        student.positional_embedding.copy_(noise(student.positional_embedding, 0.01))
        blocks: Any = student.transformer.resblocks
        for block in blocks:
            attn, mlp = block.attn, block.mlp
            attn.in_proj_weight.copy_(noise(attn.in_proj_weight, width**-0.5))
            attn.out_proj.weight.copy_(noise(attn.out_proj.weight, 0.02 * width**-0.5))
            mlp.c_fc.weight.copy_(noise(mlp.c_fc.weight, (2 * width) ** -0.5))
            mlp.c_proj.weight.copy_(noise(mlp.c_proj.weight, 0.02 * width**-0.5))
            for bias in (attn.in_proj_bias, attn.out_proj.bias, mlp.c_fc.bias, mlp.c_proj.bias):
                bias.zero_()
        first = blocks[0].attn
        first.in_proj_weight[: 2 * width] *= 0.2
        first.in_proj_weight[2 * width :] = torch.eye(width)
        first.out_proj.weight.copy_(0.15 * torch.eye(width))
        assert isinstance(student.text_projection, Tensor)
        student.text_projection.copy_(basis.T * width**-0.5)
    return student


def at_clip_scale(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same function with token embeddings of CLIP's size, as float16.

    Everything that writes into the residual stream is scaled by one factor, which the layer
    norms that read from it take out again (up to their epsilon).
    """
    factor = CLIP_TOKEN_STD / float(state["token_embedding.weight"].std())
    writers = (".attn.out_proj.", ".mlp.c_proj.")
    embeddings = ("token_embedding.weight", "positional_embedding")
    scaled = {
        name: value * factor if name in embeddings or any(w in name for w in writers) else value
        for name, value in state.items()
    }
    return {name: value.half().contiguous() for name, value in scaled.items()}
