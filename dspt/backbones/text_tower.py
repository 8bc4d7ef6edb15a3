"""Run open_clip's text towers on token embeddings, so that context vectors can be learned.

`open_clip_text_tower` accepts any model whose text part is an open_clip transformer: `CLIP` (text
parts are attributes of the model), `CustomTextCLIP` (they are in `.text`: SigLIP, MobileCLIP) or a
bare `TextTransformer`. The result is the same as that of the model's `encode_text`.
"""

from __future__ import annotations

from typing import Any

import torch
from open_clip.coca_model import CoCa
from open_clip.hf_model import HFTextEncoder
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from dspt.backbones.base import weight_bytes
from dspt.backbones.frozen_block import FrozenBlock, causal_mask
from dspt.errors import BackboneError

_POOLED_AT_END = ("argmax", "eos")


def open_clip_text_tower(model: nn.Module, *, pad_id: int = 0) -> OpenClipTextTower:
    """Freeze `model` (evaluation mode, no gradients of its weights) and return its text tower.

    pad_id: padding token of the model's tokenizer; only used by towers without a causal mask.
    Raises BackboneError for towers that are not supported: Hugging Face encoders, CoCa, and
    everything that is not an open_clip transformer.
    """
    text: Any = getattr(model, "text", model)
    if isinstance(text, HFTextEncoder):
        raise BackboneError(
            "the text tower is a Hugging Face encoder, which is not supported; use a model with "
            "open_clip's text tower, such as ViT-B-16-quickgelu/openai"
        )
    if isinstance(model, CoCa) or getattr(text, "cls_emb", None) is not None:
        raise BackboneError(
            "CoCa models pool their text in a class token after the padding, which is not "
            "supported; use a CLIP, MobileCLIP or SigLIP model"
        )
    parts = ("token_embedding", "positional_embedding", "transformer", "ln_final")
    missing = [name for name in parts if not hasattr(text, name)]
    if missing:
        raise BackboneError(
            f"{type(text).__name__} is not an open_clip text tower: it has no {', '.join(missing)}"
        )
    if getattr(text, "use_pad_mask", False):
        raise BackboneError("text towers that mask their padding are not supported")
    model.requires_grad_(False).eval()
    return OpenClipTextTower(text, pad_id=pad_id)


class OpenClipTextTower:
    """The frozen text part of an open_clip model, run on token embeddings.

    `dspt.prompt.text_encoder` runs the same weights faster with `blocks`, `positions`, `standard`,
    `causal` and `project`. A block is x + ls_1(attn(ln_1(x))), then x + ls_2(mlp(ln_2(x))).
    """

    def __init__(self, text: Any, *, pad_id: int) -> None:
        self._text = text
        self._pad_id = pad_id
        self.pool: str = getattr(text, "text_pool_type", None) or text.pool_type
        if self.pool not in (*_POOLED_AT_END, "first", "last"):
            raise BackboneError(f"text towers with pooling {self.pool!r} are not supported")
        self.masked = _is_causal(text.attn_mask)
        self.causal = self.masked and self.pool != "last"
        """Whether tokens after the end token do not matter."""
        self.width = int(text.token_embedding.embedding_dim)
        """Size of a token embedding."""
        self.context_length = int(text.positional_embedding.shape[0])
        """Longest sequence, with start and end tokens."""
        self.embedding_std = float(text.token_embedding.weight.detach().float().std())
        """Standard deviation of the token embeddings: the scale of context vectors."""
        self._frozen: dict[tuple[torch.dtype, torch.device], list[FrozenBlock]] = {}

    @property
    def nbytes(self) -> int:
        """Size of the weights in bytes, without the copies in `frozen_blocks`."""
        text = self._text
        modules: list[nn.Module] = [text.token_embedding, text.transformer, text.ln_final]
        nbytes = int(text.positional_embedding.nbytes)
        if isinstance(text.text_projection, nn.Module):
            modules.append(text.text_projection)
        elif text.text_projection is not None:
            nbytes += text.text_projection.nbytes
        return nbytes + weight_bytes(*modules)

    @property
    def blocks(self) -> list[nn.Module]:
        """The residual blocks, first to last."""
        return list(self._text.transformer.resblocks)

    @property
    def standard(self) -> bool:
        """Whether every block is open_clip's default block with `nn.MultiheadAttention`.

        Such a block is fully described by ln_1, attn (in_proj_weight, in_proj_bias, out_proj),
        ls_1, ln_2, mlp and ls_2.
        """
        return all(_is_standard(block) for block in self._text.transformer.resblocks)

    def frozen_blocks(self, dtype: torch.dtype) -> list[FrozenBlock]:
        """Return the blocks with weights cast to `dtype`, cached. All must pass `can_freeze`."""
        key = (dtype, self.positions.device)
        if key not in self._frozen:
            with torch.inference_mode(False), torch.no_grad():
                self._frozen[key] = [FrozenBlock(block, dtype) for block in self.blocks]
        return self._frozen[key]

    @property
    def positions(self) -> Tensor:
        """Positional embeddings (context_length, width)."""
        found: Tensor = self._text.positional_embedding
        return found

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the blocks; embeddings are cast to it."""
        found: torch.dtype = self._text.transformer.get_cast_dtype()
        return found

    def embed(self, ids: Tensor) -> Tensor:
        """Return token embeddings without positions: (..., L) int64 -> (..., L, width)."""
        found: Tensor = self._text.token_embedding(ids)
        return found

    def pad(self, ids: list[int]) -> list[int]:
        """Pad one prompt to the context length; causal towers need no padding."""
        return ids if self.causal else ids + [self._pad_id] * (self.context_length - len(ids))

    def encode(self, embeddings: Tensor, end: Tensor) -> Tensor:
        """Run the tower on token embeddings; differentiable in them.

        embeddings: (B, L, width), positions not added, L = context_length unless the tower is
        causal; end: (B,) int64 index of each end token. Returns (B, D), not normalised.
        """
        batch, length, _ = embeddings.shape
        if length > self.context_length or (length < self.context_length and not self.causal):
            raise ValueError(f"{length} tokens, but the tower takes {self.context_length}")
        x = embeddings.to(self.dtype) + self.positions[:length].to(self.dtype)
        mask = causal_mask(length, x) if self.masked else None
        for block in self._text.transformer.resblocks:
            if _is_standard(block):
                x = x + block.ls_1(attention(block.attn, block.ln_1(x), mask))
                x = x + block.ls_2(block.mlp(block.ln_2(x)))
            else:
                x = block(x, attn_mask=mask)
        if self.pool in _POOLED_AT_END:
            rows = x[torch.arange(batch, device=x.device), end.to(x.device)]
        else:
            rows = x[:, 0 if self.pool == "first" else -1]
        return self.project(rows)

    def bytes_per_token(self, length: int) -> int:
        """Estimate the bytes that autograd saves per token of `encode` in sequences of `length`."""
        heads = max(1, self.width // 64)
        return len(self.blocks) * self.positions.itemsize * (18 * self.width + 2 * heads * length)

    def project(self, rows: Tensor) -> Tensor:
        """Apply the final norm and projection to pooled tokens: (..., width) -> (..., D)."""
        pooled: Tensor = self._text.ln_final(rows)
        projection = self._text.text_projection
        if isinstance(projection, nn.Linear):
            pooled = projection(pooled)
        elif projection is not None:
            pooled = pooled @ projection
        return pooled


def attention(attn: nn.MultiheadAttention, x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the self-attention of a standard block: (B, L, W) -> (B, L, W).

    On a CPU the fused kernel of torch is slower for short sequences: a forward and backward pass of
    12 layers, width 512, 100 x 24 tokens takes 4.8 s on one core, and 4.2 s as written here.
    """
    batch, length, width = x.shape
    heads = attn.num_heads
    qkv = nn.functional.linear(x, attn.in_proj_weight, attn.in_proj_bias)
    q, k, v = qkv.view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4).unbind(0)
    if x.device.type == "cpu":
        scores = (q * (width // heads) ** -0.5) @ k.transpose(-1, -2)
        y = torch.softmax(scores if mask is None else scores + mask, dim=-1) @ v
    else:
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    y = y.transpose(1, 2).reshape(batch, length, width)
    return nn.functional.linear(y, attn.out_proj.weight, attn.out_proj.bias)


def _is_standard(block: nn.Module) -> bool:
    attn = getattr(block, "attn", None)
    return (
        type(block) is ResidualAttentionBlock
        and isinstance(attn, nn.MultiheadAttention)
        and attn.in_proj_weight is not None
        and attn.bias_k is None
        and not attn.add_zero_attn
    )


def _is_causal(mask: Tensor | None) -> bool:
    if mask is None:
        return False
    if not torch.equal(mask, causal_mask(mask.shape[0], mask)):
        raise BackboneError("text towers with a custom attention mask are not supported")
    return True
