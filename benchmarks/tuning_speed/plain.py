"""The trainer of CoOp (Zhou et al., IJCV 2022) and NLPrompt on open_clip's own modules.

Decodes every batch and runs the image tower on it, and the text tower on the prompt of every class
with all 77 tokens. Only the context has gradients.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.tuning_speed.setup import (
    LR,
    N_CTX,
    PHOTOS,
    Case,
    StepTime,
    Trainer,
    clocks,
    reset_peak,
)
from dspt.data import read_image
from dspt.kit.cpus import available_cpus
from dspt.prompt.learner import RANDOM, PromptLearner
from dspt.prompt.step import MOMENTUM, WEIGHT_DECAY


class PlainTrainer(Trainer):
    """Runs one step at a time.

    With a GPU the next batch is decoded during a step, as a data loader does. Without one, decoding
    needs the same CPUs and comes first, on all of them.
    """

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._pool = ThreadPoolExecutor(available_cpus(), thread_name_prefix="decode")
        self._start = PromptLearner(self._backbone, self._names[:1], n_ctx=N_CTX, ctx_init=RANDOM)
        self.restart()
        self._before, self._behind, self._end = self._embed(self._names)
        self._in_use = reset_peak(case.device)

    def restart(self) -> None:
        """Return to the first step and the initial context."""
        self._context = self._start.initial(self._case.seed).requires_grad_()
        lr = self._case.schedule.lr_at(0, LR)
        self._optimizer = torch.optim.SGD(
            [self._context], lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        self._order = iter(self._case.order())
        if self._case.device != "cpu":
            self._submit()

    def steps(self, count: int) -> list[StepTime]:
        """Run the next `count` steps."""
        return [self._step() for _ in range(count)]

    def _step(self) -> StepTime:
        device = self._case.device
        started, started_cpu = clocks(device)
        if device == "cpu":
            self._submit()
        pixels = torch.stack([future.result() for future in self._batch]).to(device)
        rows = self._rows
        if device != "cpu":
            self._submit()
        with torch.autocast(device, self._case.autocast, enabled=self._case.autocast is not None):
            with torch.no_grad():
                images = self._model.visual(pixels)
            text_started, text_cpu = clocks(device)
            classes = self._encode_classes()
        features = F.normalize(images.float(), dim=-1)
        logits = self._backbone.logit_scale * features @ F.normalize(classes.float(), dim=-1).T
        loss = F.cross_entropy(logits, self._labels[rows])
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        done, done_cpu = clocks(device)
        return StepTime(
            done - text_started, done - started, done_cpu - text_cpu, done_cpu - started_cpu
        )

    def _encode_classes(self) -> Tensor:
        """Return (C, D), as CoOp's prompt learner and text encoder do."""
        model, context = self._model, self._context.expand(len(self._before), -1, -1)
        x = torch.cat([self._before, context, self._behind], dim=1) + model.positional_embedding
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask))
        rows: Tensor = x[torch.arange(len(x), device=x.device), self._end]
        found: Tensor = rows @ model.text_projection
        return found

    def _embed(self, names: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Return embeddings before and after the context, and positions of the end tokens."""
        tokenizer, m = self._backbone.tokenizer, N_CTX
        ids = torch.zeros(len(names), self._model.context_length, dtype=torch.int64)
        ends = []
        for row, name in zip(ids, names, strict=True):
            head = [*tokenizer.start, *[0] * m]
            prompt = [*head, *tokenizer.encode(f"{name}."), *tokenizer.end]
            row[: len(prompt)] = torch.tensor(prompt)
            ends.append(len(prompt) - 1)
        device = self._case.device
        with torch.no_grad():
            table = self._model.token_embedding(ids.to(device))
        return table[:, :1], table[:, 1 + m :], torch.tensor(ends, device=device)

    def _submit(self) -> None:
        self._rows = next(self._order, self._case.order()[0])
        self._batch = [self._pool.submit(self._pixels, row % PHOTOS) for row in self._rows]

    def _pixels(self, row: int) -> Tensor:
        return self._backbone.preprocess(read_image(self._dataset, self._dataset.items[row]))
