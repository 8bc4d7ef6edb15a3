"""Small models in the formats that weights are published in, and how to compare them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.model import CLIP, CustomTextCLIP
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional as F

from dspt.backbones import Backbone

VIT = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1}
RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
TEXT = {"width": 32, "heads": 2, "layers": 2}
CLIP_CFG = {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT | {"context_length": 77}}
TEXTS = ["a photo of a dog.", "a photo of a red double-decker bus."]
SMALL = {
    "ViT-B-32": VIT,
    "ViT-B-16-quickgelu": VIT,
    "ViT-L-14": VIT | {"patch_size": 8},
    "RN50-quickgelu": RESNET,
    "RN101": RESNET | {"layers": [1, 1, 2, 1]},
    "MobileCLIP-S2": {"timm_model_name": "fastvit_t8", "image_size": 64},
    "MobileCLIP-B": {"timm_model_name": "vit_tiny_patch16_224", "image_size": 224},
    "ViT-B-16-SigLIP": {"timm_model_name": "vit_tiny_patch16_224", "image_size": 224},
}


def small_config(name: str) -> dict[str, Any]:
    """The published config with the towers cut down; nothing else is changed."""
    cfg: dict[str, Any] = copy.deepcopy(open_clip.get_model_config(name))
    cfg["vision_cfg"] |= SMALL[name]
    cfg["text_cfg"] |= TEXT
    if name == "ViT-B-16-SigLIP":
        cfg["embed_dim"] = 192
        cfg["text_cfg"]["vocab_size"] = 40
    return cfg


def build(cfg: dict[str, Any]) -> Any:
    torch.manual_seed(11)
    cfg = copy.deepcopy(cfg)
    kind = CustomTextCLIP if cfg.pop("custom_text", False) else CLIP
    model: nn.Module = kind(**cfg).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def write_folder(
    folder: Path,
    cfg: dict[str, Any],
    model: nn.Module,
    *,
    preprocess: dict[str, Any] | None = None,
    filename: str = "open_clip_model.safetensors",
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": cfg, "preprocess_cfg": preprocess or {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    if filename.endswith(".safetensors"):
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / filename)
    else:
        torch.save(model.state_dict(), folder / filename)
    return folder


def write_tokenizer(folder: Path) -> None:
    words = ["<unk>", "</s>", "a", "photo", "of", "dog", "red", "bus", "double", "decker"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"pad_token": "</s>"}')


def encode(backbone: Backbone, texts: list[str]) -> tuple[Tensor, Tensor]:
    """Text embeddings through the backbone alone, and the padded ids that went in."""
    tokenizer, tower = backbone.tokenizer, backbone.text_tower
    prompts = [[*tokenizer.start, *tokenizer.encode(t), *tokenizer.end] for t in texts]
    end = torch.tensor([len(p) - 1 for p in prompts])
    prompts = [tower.pad(p) for p in prompts]
    longest = max(len(p) for p in prompts)
    ids = torch.tensor([p + [0] * (longest - len(p)) for p in prompts])
    return tower.encode(tower.embed(ids), end), ids


def assert_same(backbone: Backbone, model: Any) -> None:
    """Text and image embeddings of the backbone are those of the library's model.

    Penultimate features give the embedding by the model's last projection.
    """
    ours, ids = encode(backbone, TEXTS)
    full = torch.zeros(len(TEXTS), backbone.text_tower.context_length, dtype=torch.long)
    full[:, : ids.shape[1]] = ids
    theirs = model.encode_text(full).detach()
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-5
    pixels = torch.stack([backbone.preprocess(picture())] * 2)
    theirs = model.encode_image(pixels, normalize=True)
    found = backbone.encode_image(pixels)
    assert found.shape[1] == backbone.feature_dim
    found, penultimate = found.split([backbone.embed_dim, backbone.penultimate_dim], 1)
    torch.testing.assert_close(found, theirs, rtol=1e-5, atol=1e-6)
    if backbone.penultimate_dim:
        torch.testing.assert_close(penultimate.norm(dim=1), torch.ones(2))
        raw = backbone.image_tower(pixels).split([found.shape[1], backbone.penultimate_dim], 1)
        torch.testing.assert_close(F.normalize(raw[1], dim=1), penultimate)
        pool = getattr(model.visual, "attnpool", None)
        projected = pool.c_proj(raw[1]) if pool else raw[1] @ model.visual.proj
        torch.testing.assert_close(projected, raw[0], rtol=1e-5, atol=1e-6)


def picture(height: int = 50, width: int = 70) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)
