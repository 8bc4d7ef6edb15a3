"""Distillation of the teacher's targets into the text tower."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from open_clip.transformer import TextTransformer
from torch import Tensor
from torch.nn import functional as F

from dspt.backbones.text_tower import OpenClipTextTower
from dspt.kit.device import tuning_dtype
from scripts.build_builtin.batches import Batch, Batches, frame
from scripts.build_builtin.student import TOKEN_STD

STEPS = 2_400
_PEAK_RATE, _PEAK_RATE_TOKENS = 2e-3, 1e-3
_WARM_UP = 100
_RATE_FLOOR = 0.03
_RELATION_SCALE = 20.0


def distil(
    student: TextTransformer,
    batches: Batches,
    steps: int,
    device: str,
    generator: torch.Generator,
    report: Callable[[str], None],
) -> None:
    """Train `student` in place: (1 - cosine) + 0.5 MSE + 0.3 KL of in-batch similarities."""
    student.to(device).train()
    tower = OpenClipTextTower(student, pad_id=0)
    tokens = student.token_embedding.weight
    rest = [p for p in student.parameters() if p is not tokens]
    dense = torch.optim.AdamW(rest, lr=_PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.02)
    # A batch holds a few hundred of 49,408 tokens: a dense optimiser would spend its time on the
    # others, and decay them.
    sparse = torch.optim.SparseAdam([tokens], lr=_PEAK_RATE_TOKENS, betas=(0.9, 0.98))
    precision = tuning_dtype("auto", torch.device(device))
    begun, cosines = time.monotonic(), []
    for step in range(1, steps + 1):
        share = _rate(step, steps)
        dense.param_groups[0]["lr"] = share * _PEAK_RATE
        sparse.param_groups[0]["lr"] = share * _PEAK_RATE_TOKENS
        batch = next(batches)
        target = batch.targets.to(device)
        with torch.autocast(device.split(":")[0], precision, enabled=precision is not None):
            out = tower.encode(_embed(student, batch, device, generator), batch.end)
        loss, cosine = _loss(out.float(), target)
        dense.zero_grad(set_to_none=True)
        sparse.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        dense.step()
        sparse.step()
        cosines.append(cosine)
        if step % 50 == 0 or step == steps:
            mean = sum(cosines) / len(cosines)
            left = (time.monotonic() - begun) / step * (steps - step)
            report(f"distil: step {step}/{steps}, cosine {mean:.4f}, {left:.0f} s left")
            cosines.clear()
    student.to("cpu").eval()


@torch.no_grad()
def recall(
    student: TextTransformer, prompts: list[list[int]], targets: Tensor
) -> tuple[float, float]:
    """Mean cosine with the targets, and the share of outputs nearest to their own target."""
    tower = OpenClipTextTower(student.eval(), pad_id=0)
    parts = []
    for at in range(0, len(prompts), 256):
        ids, end = frame(prompts[at : at + 256])
        parts.append(F.normalize(tower.encode(tower.embed(ids), end), dim=1))
    out = torch.cat(parts)
    cosine = (out * targets).sum(1).mean()
    nearest = (out @ targets.T).argmax(1) == torch.arange(len(targets))
    return float(cosine), float(nearest.float().mean())


def _embed(
    student: TextTransformer, batch: Batch, device: str, generator: torch.Generator
) -> Tensor:
    """Token embeddings; in some rows the context is replaced by Gaussian vectors."""
    x = F.embedding(batch.ids.to(device), student.token_embedding.weight, sparse=True)
    if batch.vectors is None:
        return x
    n, size = batch.vectors
    vectors = torch.randn(len(x), n, x.shape[2], generator=generator) * (size * TOKEN_STD)
    chosen = (torch.rand(len(x), 1, 1, generator=generator) < 0.6).to(device)
    head = torch.where(chosen, vectors.to(device), x[:, 1 : 1 + n])
    return torch.cat([x[:, :1], head, x[:, 1 + n :]], dim=1)


def _loss(out: Tensor, target: Tensor) -> tuple[Tensor, float]:
    unit = F.normalize(out, dim=1)
    cosine = (unit * target).sum(1).mean()
    squared = (out - target).pow(2).sum(1).mean()
    wanted = (_RELATION_SCALE * target @ target.T).log_softmax(1)
    found = (_RELATION_SCALE * unit @ target.T).log_softmax(1)
    relation = F.kl_div(found, wanted, reduction="batchmean", log_target=True)
    return (1 - cosine) + 0.5 * squared + 0.3 * relation, float(cosine.detach())


def _rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to 3 %."""
    cosine = 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))
    return min(1.0, step / _WARM_UP) * (cosine * (1 - _RATE_FLOOR) + _RATE_FLOOR)
