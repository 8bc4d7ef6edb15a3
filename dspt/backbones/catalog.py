"""The recommended backbones, and whether their weights are on this machine.

Other models of open_clip's registry with open_clip's text tower can be loaded too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dspt.backbones import hub

SAFETENSORS = "open_clip_model.safetensors"
PICKLE = "open_clip_pytorch_model.bin"
TOKENIZER = ("tokenizer.json",)


@dataclass(frozen=True)
class BackboneInfo:
    """One backbone that can be tuned."""

    name: str
    embed_dim: int
    image_size: int
    """Height and width of the input of the image tower, in pixels."""
    weights: Literal["present", "download"]
    licence: str
    note: str


@dataclass(frozen=True)
class Entry:
    """A published backbone: `repo` has its weights, and its tokenizer if `own_tokenizer`."""

    name: str
    embed_dim: int
    image_size: int
    repo: str
    licence: str
    note: str
    own_tokenizer: bool = False

    def present(self) -> bool:
        """Return whether the local cache has all its files. No network."""
        wanted = [(SAFETENSORS, PICKLE)] + [TOKENIZER] * self.own_tokenizer
        return all(hub.cached(self.repo, names) for names in wanted)


_BUILTIN_NOTE = (
    "For trials and tests: small, works offline, far weaker than CLIP. "
    "For real work use ViT-B-16/openai."
)
_OPENAI = "OpenAI's CLIP (quickgelu)"

CATALOG = (
    Entry(
        "ViT-B-16/openai",
        512,
        224,
        "timm/vit_base_patch16_clip_224.openai",
        "MIT",
        f"{_OPENAI}. Recommended: good accuracy, runs on a CPU.",
    ),
    Entry(
        "ViT-B-32/openai",
        512,
        224,
        "timm/vit_base_patch32_clip_224.openai",
        "MIT",
        f"{_OPENAI}. About four times faster than ViT-B-16, less accurate.",
    ),
    Entry(
        "ViT-L-14/openai",
        768,
        224,
        "timm/vit_large_patch14_clip_224.openai",
        "MIT",
        f"{_OPENAI}. More accurate; needs a GPU.",
    ),
    Entry(
        "RN50/openai",
        1024,
        224,
        "timm/resnet50_clip.openai",
        "MIT",
        f"{_OPENAI}. A ResNet-50, used in papers on noisy labels.",
    ),
    Entry(
        "RN101/openai",
        512,
        224,
        "timm/resnet101_clip.openai",
        "MIT",
        f"{_OPENAI}. A ResNet-101.",
    ),
    Entry(
        "MobileCLIP-S2/datacompdr",
        512,
        256,
        "apple/MobileCLIP-S2-OpenCLIP",
        "Apple Machine Learning Research Model licence (research only)",
        "Apple's MobileCLIP: fast image tower; its text tower is not causal, so tuning is slower.",
    ),
    Entry(
        "ViT-B-16-SigLIP/webli",
        768,
        224,
        "timm/ViT-B-16-SigLIP",
        "Apache-2.0",
        "Google's SigLIP: its text tower is not causal, so tuning is slower.",
        own_tokenizer=True,
    ),
)


def list_backbones() -> list[BackboneInfo]:
    """Return `builtin` and the recommended published backbones. No network."""
    builtin = BackboneInfo("builtin", 512, 224, "present", "Apache-2.0", _BUILTIN_NOTE)
    return [
        builtin,
        *(
            BackboneInfo(
                entry.name,
                entry.embed_dim,
                entry.image_size,
                "present" if entry.present() else "download",
                entry.licence,
                entry.note,
            )
            for entry in CATALOG
        ),
    ]
