"""Every family of text towers against the library's own encode_text, on random weights.

The architectures are open_clip's own; the number of text layers, the size of vocabularies, whose
random embeddings take long to draw, the image tower and, where said, the text width are cut down.
"""

from __future__ import annotations

import copy
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

from dspt.backbones.text_tower import (
    OpenClipTextTower,
    attention,
    causal_mask,
    open_clip_text_tower,
)
from dspt.errors import BackboneError

TINY_IMAGES = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1}
VOCABULARY = 2000
#: Architectures whose text towers differ in more than their size.
FAMILIES = [
    "ViT-B-32",
    "ViT-B-32-quickgelu",
    "ViT-L-14",
    "RN50",
    "MobileCLIP-B",
    "MobileCLIP-S2",
    "ViT-B-16-SigLIP",
    "ViT-B-16-SigLIP2",
    "ViT-SO400M-16-SigLIP-i18n-256",
    "ViT-L-14-CLIPA",
    "ViT-H-14-worldwide-quickgelu",
]


def build(name: str, **text: Any) -> nn.Module:
    """The named architecture with random weights, biases and norms included."""
    torch.manual_seed(7)
    cfg = copy.deepcopy(open_clip.get_model_config(name))
    cfg["vision_cfg"] = TINY_IMAGES
    cfg["text_cfg"] |= {"layers": 2} | text
    cfg["text_cfg"]["vocab_size"] = VOCABULARY
    kind = CustomTextCLIP if cfg.pop("custom_text", False) else CLIP
    model = kind(**cfg)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def eos_of(model: Any, tower: OpenClipTextTower) -> int:
    text = getattr(model, "text", model)
    if tower.pool == "eos":
        return int(getattr(text, "text_eos_id", None) or text.eos_id)
    return int(model.vocab_size) - 1


def prompts(model: Any, tower: OpenClipTextTower) -> tuple[Tensor, Tensor]:
    """Ids (3, context) as a tokenizer pads them, of prompts of different lengths; their ends."""
    lengths = torch.tensor([5, 13, 9])
    ids = torch.zeros(3, tower.context_length, dtype=torch.long)
    generator = torch.Generator().manual_seed(3)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(
            3, model.vocab_size - 2, (int(length),), generator=generator
        )
        ids[row, length] = eos_of(model, tower)
    return ids, lengths


def through_hook(model: Any, ids: Tensor, embeddings: Tensor) -> Tensor:
    """The library's encode_text with `embeddings` in place of its token embeddings."""
    owner = getattr(model, "text", model)
    handle = owner.token_embedding.register_forward_hook(lambda *_: embeddings)
    try:
        return model.encode_text(ids)
    finally:
        handle.remove()


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("name", FAMILIES)
def test_embeddings_and_gradients_are_the_librarys(name: str) -> None:
    model = build(name, width=16 * open_clip.get_model_config(name)["text_cfg"]["heads"])
    tower = open_clip_text_tower(model)
    ids, end = prompts(model, tower)
    cut = int(end.max()) + 1 if tower.causal else tower.context_length

    theirs_in = tower.embed(ids).clone().requires_grad_()
    ours_in = tower.embed(ids[:, :cut]).clone().requires_grad_()
    theirs = through_hook(model, ids, theirs_in)
    ours = tower.encode(ours_in, end)

    assert relative_error(tower.encode(tower.embed(ids[:, :cut]), end), theirs.detach()) < 1e-5
    assert relative_error(ours.detach(), model.encode_text(ids)) < 1e-5

    probe = torch.randn(ours.shape, generator=torch.Generator().manual_seed(5))
    (ours * probe).sum().backward()
    (theirs * probe).sum().backward()
    assert ours_in.grad is not None
    assert theirs_in.grad is not None
    assert relative_error(ours_in.grad, theirs_in.grad[:, :cut]) < 1e-5
    assert theirs_in.grad[:, cut:].abs().sum() == 0
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    assert not model.training


@pytest.mark.parametrize("name", ["ViT-B-16", "ViT-L-14", "ViT-B-16-SigLIP", "MobileCLIP-B"])
def test_attributes_of_the_tower(name: str) -> None:
    cfg = open_clip.get_model_config(name)["text_cfg"]
    model: Any = build(name)
    tower = open_clip_text_tower(model)
    assert tower.standard
    assert len(tower.blocks) == 2
    assert tower.width == cfg["width"]
    assert tower.context_length == cfg.get("context_length", 77)
    assert tower.causal is not cfg.get("no_causal_mask", False)
    assert tower.positions.shape == (tower.context_length, tower.width)
    assert tower.embedding_std == pytest.approx(0.02, rel=0.05)
    assert tower.dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (CLIP, {"proj_type": "none"}),
        (CustomTextCLIP, {"proj_type": "none"}),
        (CustomTextCLIP, {"proj_bias": True}),
        (CustomTextCLIP, {"ls_init_value": 0.3}),
        (CustomTextCLIP, {"pool_type": "first", "no_causal_mask": True}),
        (CLIP, {"pool_type": "last"}),
        (CustomTextCLIP, {"pool_type": "last"}),
        (CLIP, {"qk_norm": True, "scale_attn": True}),
        (CustomTextCLIP, {"scale_heads": True, "scale_fc": True, "scale_attn_inner": True}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "+".join(value),
)
def test_every_text_setting(kind: type[nn.Module], text: dict[str, Any]) -> None:
    torch.manual_seed(1)
    size = {"width": 64, "heads": 2, "layers": 2, "vocab_size": 500, "context_length": 20}
    model: Any = kind(64, TINY_IMAGES, size | text, quick_gelu=True)
    tower = open_clip_text_tower(model)
    ids, end = prompts(model, tower)
    cut = 14 if tower.causal else 20
    assert relative_error(tower.encode(tower.embed(ids[:, :cut]), end), model.encode_text(ids)) < (
        1e-5
    )
    assert tower.standard is not bool({"qk_norm", "scale_heads"} & set(text))


def test_a_bare_text_transformer_is_a_tower() -> None:
    text = TextTransformer(context_length=16, vocab_size=100, width=32, heads=2, layers=1)
    tower = open_clip_text_tower(text)
    ids = torch.tensor([[1, 5, 99] + [0] * 13])
    ours = tower.encode(tower.embed(ids[:, :3]), torch.tensor([2]))
    torch.testing.assert_close(ours, text(ids), rtol=1e-5, atol=1e-6)


def test_tokens_behind_the_end_of_a_causal_prompt_do_not_matter() -> None:
    tower = open_clip_text_tower(build("ViT-B-32"))
    x = torch.randn(2, 9, tower.width) * 0.02
    end = torch.tensor([4, 6])
    longer = torch.cat([x, torch.full((2, 5, tower.width), 3.0)], dim=1)
    longer[0, 5:] = -7.0
    assert relative_error(tower.encode(longer, end), tower.encode(x, end)) < 1e-5


def test_padding_is_to_the_context_length_with_the_tokenizers_pad_unless_causal() -> None:
    causal = open_clip_text_tower(build("ViT-B-32"), pad_id=1)
    assert causal.pad([7, 8, 9]) == [7, 8, 9]
    both_ways = open_clip_text_tower(build("ViT-B-16-SigLIP"), pad_id=1)
    assert both_ways.pad([7, 8, 9]) == [7, 8, 9] + [1] * 61


def test_a_length_that_the_tower_cannot_take_is_refused() -> None:
    causal = open_clip_text_tower(build("ViT-B-32"))
    with pytest.raises(ValueError, match="78 tokens"):
        causal.encode(torch.zeros(1, 78, causal.width), torch.tensor([3]))
    both_ways = open_clip_text_tower(build("ViT-B-16-SigLIP"))
    with pytest.raises(ValueError, match="12 tokens"):
        both_ways.encode(torch.zeros(1, 12, both_ways.width), torch.tensor([3]))


def test_bfloat16_towers_take_float32_embeddings() -> None:
    model: Any = build("ViT-B-32").to(torch.bfloat16)
    tower = open_clip_text_tower(model)
    ids, end = prompts(model, tower)
    x = tower.embed(ids[:, :14]).float().requires_grad_()
    ours = tower.encode(x, end)
    assert ours.dtype == torch.bfloat16
    assert relative_error(ours.float().detach(), model.encode_text(ids).float()) < 0.05
    ours.float().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.float32


@pytest.mark.parametrize("masked", [True, False])
def test_attention_is_the_modules_own(masked: bool) -> None:
    torch.manual_seed(2)
    module = nn.MultiheadAttention(64, 4, batch_first=True)
    x = torch.randn(3, 10, 64)
    mask = causal_mask(10, x) if masked else None
    theirs, _ = module(x, x, x, need_weights=False, attn_mask=mask)
    torch.testing.assert_close(attention(module, x, mask), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same() -> None:
    model: Any = build("ViT-B-32")
    tower = open_clip_text_tower(model)
    ids, end = prompts(model, tower)
    here = tower.encode(tower.embed(ids[:, :14]), end)
    model.cuda()
    there = tower.encode(tower.embed(ids[:, :14].cuda()), end)
    assert there.device.type == "cuda"
    assert relative_error(there.cpu(), here) < 1e-4


def test_hugging_face_encoders_are_refused() -> None:
    from open_clip.hf_model import HFTextEncoder

    model = nn.Module()
    model.text = HFTextEncoder.__new__(HFTextEncoder)
    nn.Module.__init__(model.text)
    with pytest.raises(BackboneError, match="Hugging Face encoder"):
        open_clip_text_tower(model)


def test_coca_is_refused() -> None:
    text = TextTransformer(
        context_length=8, vocab_size=50, width=32, heads=2, layers=1, embed_cls=True
    )
    with pytest.raises(BackboneError, match="CoCa"):
        open_clip_text_tower(text)


def test_what_is_no_text_tower_is_refused() -> None:
    with pytest.raises(BackboneError, match="Linear is not an open_clip text tower"):
        open_clip_text_tower(nn.Linear(2, 2))


def test_a_mask_that_is_not_causal_is_refused() -> None:
    text = TextTransformer(context_length=8, vocab_size=50, width=32, heads=2, layers=1)
    text.attn_mask[0, 5] = 0
    with pytest.raises(BackboneError, match="attention mask"):
        open_clip_text_tower(text)
