"""Prompts with a learnable context: [start] ctx_1 ... ctx_M [class words] "." [end].

Only the context vectors are learned (CoOp: Zhou et al., IJCV 2022, eq. 3); everything else is the
backbone's own tokenizer and frozen token embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dspt.backbones.base import CLIP_EMBEDDING_STD, Backbone, Tokenizer
from dspt.config import TuneConfig
from dspt.errors import ConfigError, PromptTooLong
from dspt.kit.device import sent
from dspt.kit.text import listed
from dspt.prompt.text_encoder import PlainEncoder, SharedPrefixEncoder, shares_prefix

RANDOM = "random"
ZERO_SHOT_CONTEXT = "a photo of a"
_RANDOM_LENGTH = 16  # CoOp's M
_RANDOM_STD = 0.02 / CLIP_EMBEDDING_STD  # CoOp: 0.02 for CLIP's token embeddings


class PromptLearner:
    """The prompts of all classes, as a function of the context vectors.

    Raises ConfigError where `n_ctx` contradicts the words of `ctx_init`, and PromptTooLong, naming
    the classes, where a prompt does not fit the tower's context window.
    """

    @classmethod
    def of_config(
        cls, backbone: Backbone, class_words: Sequence[str], config: TuneConfig
    ) -> PromptLearner:
        """Return the prompts with the settings of a tuning."""
        return cls(
            backbone,
            class_words,
            n_ctx=config.n_ctx,
            ctx_init=config.ctx_init,
            class_specific=config.class_specific_context,
        )

    def __init__(
        self,
        backbone: Backbone,
        class_words: Sequence[str],
        *,
        n_ctx: int | None = None,
        ctx_init: str = ZERO_SHOT_CONTEXT,
        class_specific: bool = False,
    ) -> None:
        tower, tokenizer = backbone.text_tower, backbone.tokenizer
        self._tower = tower
        self.device = backbone.device
        self.class_specific = class_specific
        self.n_classes = len(class_words)
        lead = ZERO_SHOT_CONTEXT if ctx_init == RANDOM else ctx_init
        self._init_ids = None if ctx_init == RANDOM else tokenizer.encode(lead)
        self.n_ctx = _context_length(self._init_ids, n_ctx, ctx_init)

        start, end = list(tokenizer.start), list(tokenizer.end)
        bodies = [body + end for body in _bodies(tokenizer, lead, class_words)]
        _check_fits(class_words, bodies, len(start) + self.n_ctx, tower.context_length)
        head = start + [0] * self.n_ctx
        rows = [head + body for body in bodies]
        # The end token stands at the last place before padding.
        self._end = sent(torch.tensor([len(row) - 1 for row in rows]), self.device)
        rows = [tower.pad(row) for row in rows]
        longest = max(map(len, rows))
        rows = [row + row[-1:] * (longest - len(row)) for row in rows]
        with torch.no_grad():
            table = tower.embed(sent(torch.tensor(rows), self.device))
        self._prefix = table[0, : len(start)]
        self._suffix = table[:, len(head) :]
        self._encoder: SharedPrefixEncoder | PlainEncoder
        if shares_prefix(tower):
            self._encoder = SharedPrefixEncoder(
                tower,
                self._prefix,
                self._suffix,
                self._end - len(head),
                self.n_ctx,
                class_specific=class_specific,
            )
        else:
            self._encoder = PlainEncoder(
                tower, self._prefix, self._suffix, self._end, class_specific=class_specific
            )

    def initial(self, seed: int) -> Tensor:
        """Context to start from: (M, W), or (C, M, W) if class-specific; float32, on `device`.

        Words give their own embeddings; `random` draws Gaussian vectors with CoOp's deviation
        relative to the size of this tower's token embeddings.
        """
        if self._init_ids is not None:
            with torch.no_grad():
                ids = sent(torch.tensor(self._init_ids), self.device)
                context = self._tower.embed(ids).float()
            if self.class_specific:
                context = context.expand(self.n_classes, -1, -1)
            return context.clone()
        generator = torch.Generator().manual_seed(seed)
        copies = (self.n_classes,) if self.class_specific else ()
        shape = (*copies, self.n_ctx, self._tower.width)
        std = _RANDOM_STD * self._tower.embedding_std
        return (torch.randn(shape, generator=generator) * std).to(self.device)

    @property
    def length_groups(self) -> list[list[int]]:
        """Classes whose prompts have similar lengths."""
        return self._encoder.length_groups

    def encode(self, context: Tensor, classes: Sequence[Tensor] | None = None) -> Tensor:
        """Class embeddings of R contexts at once, differentiable in them.

        context: (R, M, W), or (R, C, M, W) if class-specific; classes: those to encode of each of
        the `length_groups`. Default: all classes, in their order. Returns (R, C, D), unit length,
        float32.
        """
        return F.normalize(self._encoder.encode(context, classes).float(), dim=-1)


def zero_shot_embeddings(backbone: Backbone, class_words: Sequence[str]) -> Tensor:
    """Class embeddings of "a photo of a {class words}.", untuned. Returns (C, D), unit length."""
    prompts = PromptLearner(backbone, class_words, ctx_init=ZERO_SHOT_CONTEXT)
    with torch.inference_mode():
        return prompts.encode(prompts.initial(0)[None])[0]


def _bodies(tokenizer: Tokenizer, lead: str, class_words: Sequence[str]) -> list[list[int]]:
    """Return the ids of "{words}." of each class, as they are after `lead` in one sentence.

    Some vocabularies have other tokens for a word at the start of a text than inside a sentence.
    Raises ConfigError if the ids of `lead` are others inside the sentence.
    """
    start = tokenizer.encode(lead)
    found = []
    for words in class_words:
        ids = tokenizer.encode(f"{lead} {words}.")
        if ids[: len(start)] != start:
            raise ConfigError(
                f"ctx_init {lead!r} is tokenised differently before the class words {words!r}; "
                "use other context words",
                param="ctx_init",
            )
        found.append(ids[len(start) :])
    return found


def _context_length(init_ids: list[int] | None, n_ctx: int | None, ctx_init: str) -> int:
    if init_ids is None:
        return n_ctx if n_ctx is not None else _RANDOM_LENGTH
    if n_ctx is not None and n_ctx != len(init_ids):
        raise ConfigError(
            f"n_ctx is {n_ctx}, but ctx_init {ctx_init!r} has {len(init_ids)} tokens; leave n_ctx "
            f"out, or set ctx_init to {RANDOM!r}",
            param="n_ctx",
        )
    if not init_ids:
        raise ConfigError(f"ctx_init {ctx_init!r} has no tokens", param="ctx_init")
    return len(init_ids)


def _check_fits(
    class_words: Sequence[str], bodies: Sequence[list[int]], before: int, window: int
) -> None:
    too_long = [
        words
        for words, body in zip(class_words, bodies, strict=True)
        if before + len(body) > window
    ]
    if too_long:
        raise PromptTooLong(
            f"the prompt does not fit the context window of {window} tokens for the class words "
            f"{listed(too_long, 5, repr)}; shorten them or use fewer context vectors",
            param=too_long[0],
        )
