"""Find the configuration and weights of a backbone from its name.

    ViT-B-16/openai                      an open_clip architecture and a pretrained tag
    ViT-B-16/openai@/path/to/weights     the same, with the weights read from a file
    ViT-B-16@/path/to/weights            an architecture with your own weights
    local-dir:/path/to/folder            open_clip_config.json and weights in one folder

Your own weights are assumed to be trained with the activation of the architecture (choose the
`-quickgelu` architecture for QuickGELU) and the preprocessing of its published weights, unless an
`open_clip_config.json` next to the file gives other values.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import open_clip
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from dspt.backbones.architectures import architectures, known_architecture, no_such_tag, split_name
from dspt.backbones.catalog import PICKLE, SAFETENSORS
from dspt.backbones.weights import LOCAL_DIR, Weights
from dspt.errors import BackboneError, UnknownBackbone, WeightsUnavailable

CONFIG = "open_clip_config.json"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_PREFERRED = (
    SAFETENSORS,
    "open_clip_pytorch_model.safetensors",
    PICKLE,
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
"""File names in a folder, in open_clip's order of preference."""


@dataclass(frozen=True)
class Source:
    """Configuration of a backbone and the location of its weights."""

    name: str
    model_cfg: dict[str, Any]
    """open_clip's model config; `quick_gelu`: the activation that the weights were trained with."""
    preprocess: dict[str, Any]
    """open_clip's preprocess config, without the size, which the image tower has."""
    weights: Weights
    tokenizer_folder: Path | None = None
    """Folder that is searched for `tokenizer.json` before the hub."""

    @property
    def quick_gelu(self) -> bool:
        """Whether the weights were trained with QuickGELU."""
        return bool(self.model_cfg.get("quick_gelu", False))


def resolve(name: str) -> Source:
    """Return the source of `name`, without reading weights or using the network.

    Raises UnknownBackbone, WeightsUnavailable (file or folder not found), BackboneError.
    """
    if name.startswith(LOCAL_DIR):
        source = _from_folder(name, Path(name.removeprefix(LOCAL_DIR)).expanduser())
    elif "@" in name:
        model, _, file = name.partition("@")
        source = _from_file(name, model, Path(file).expanduser())
    else:
        source = _from_tag(name, *_split(name))
    _refuse_unsupported(source)
    return source


def _split(name: str) -> tuple[str, str]:
    """Return architecture and tag of a name. Raises UnknownBackbone."""
    architecture, tag = split_name(name)
    if not tag:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        raise UnknownBackbone(
            f"{name} does not name a set of weights: use "
            + (
                f"{architecture}/TAG, with TAG one of {', '.join(tags)}"
                if tags
                else f"{architecture}@/path/to/weights (open_clip publishes none for it)"
            ),
            param="backbone",
        )
    return architecture, tag


def _from_tag(name: str, architecture: str, tag: str) -> Source:
    cfg = open_clip.get_pretrained_cfg(architecture, tag)
    if not cfg:
        raise UnknownBackbone(_no_such_tag(architecture, tag), param="backbone")
    # Weights trained with QuickGELU give worse embeddings with GELU, and vice versa, without any
    # error. So the activation of the tag overrides the default of the architecture.
    model_cfg = open_clip.get_model_config(architecture) | {
        "quick_gelu": bool(cfg.get("quick_gelu", False))
    }
    repo, _, filename = cfg.get("hf_hub", "").rpartition("/")
    if not filename:
        filenames: tuple[str, ...] = (SAFETENSORS, PICKLE)
    else:
        safe = str(Path(filename).with_suffix(".safetensors"))
        filenames = (safe, filename) if safe != filename else (filename,)
    return Source(
        name=name,
        model_cfg=model_cfg,
        preprocess=merge_preprocess_dict(PreprocessCfg(), cfg),
        weights=Weights(name, repo=repo or None, filenames=filenames),
    )


def _no_such_tag(architecture: str, tag: str) -> str:
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    plain = architecture.removesuffix("-quickgelu")
    if plain != architecture and open_clip.get_pretrained_cfg(plain, tag):
        return (
            f"the weights {tag} were trained with GELU, not QuickGELU: use {plain}/{tag}, "
            f"not {architecture}"
        )
    if not tags:
        return (
            f"open_clip publishes no weights for {architecture}: use a file, "
            f"{architecture}@/path/to/weights"
        )
    return no_such_tag(architecture, tag, tags)


def _from_file(name: str, model: str, file: Path) -> Source:
    if not file.is_file():
        raise WeightsUnavailable(f"{file} is not a file", param="backbone")
    _check_suffix(file)
    config = _read_config(file.parent / CONFIG) if (file.parent / CONFIG).is_file() else None
    architecture = model.replace("/", "-")
    if architecture not in architectures() and "/" in model:
        source = _from_tag(model, *_split(model))
        source = replace(source, name=name, weights=Weights(name, file))
    else:
        architecture = known_architecture(architecture)
        cfg = open_clip.get_model_config(architecture)
        preprocess = _usual_preprocess(architecture)
        if config is not None:
            preprocess = merge_preprocess_dict(preprocess, config.get("preprocess_cfg") or {})
        weights = Weights(name, file)
        source = Source(name=name, model_cfg=cfg, preprocess=preprocess, weights=weights)
    if config is not None and bool(config["model_cfg"].get("quick_gelu")) != source.quick_gelu:
        trained, chosen = ("QuickGELU", "GELU") if not source.quick_gelu else ("GELU", "QuickGELU")
        raise BackboneError(
            f"according to {file.parent / CONFIG} these weights were trained with {trained}, but "
            f"{model} uses {chosen}: choose the architecture "
            f"{'with' if trained == 'QuickGELU' else 'without'} -quickgelu, or use "
            f"{LOCAL_DIR}{file.parent}",
            param="backbone",
        )
    return replace(source, tokenizer_folder=file.parent)


def _usual_preprocess(architecture: str) -> dict[str, Any]:
    """Return the preprocessing that all published weights share, else open_clip's default."""
    default = asdict(PreprocessCfg())
    found = [
        merge_preprocess_dict(default, open_clip.get_pretrained_cfg(architecture, tag))
        for tag in open_clip.list_pretrained_tags_by_model(architecture)
    ]
    return found[0] if found and all(cfg == found[0] for cfg in found) else default


def _from_folder(name: str, folder: Path) -> Source:
    if not folder.is_dir():
        raise WeightsUnavailable(f"{folder} is not a folder", param="backbone")
    if not (folder / CONFIG).is_file():
        raise WeightsUnavailable(
            f"{folder} has no {CONFIG}: copy it from the model's repository, or use "
            f"ARCHITECTURE@{folder}/FILE",
            param="backbone",
        )
    config = _read_config(folder / CONFIG)
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in WEIGHT_SUFFIXES)
    by_name = {p.name: p for p in files}
    chosen = next((by_name[n] for n in _PREFERRED if n in by_name), None)
    if chosen is None:
        if len(files) != 1:
            raise WeightsUnavailable(
                f"{folder} has {len(files)} files of weights and none with a name that open_clip "
                f"uses: rename the right one to {SAFETENSORS}",
                param="backbone",
            )
        chosen = files[0]
    return Source(
        name=name,
        model_cfg=config["model_cfg"],
        preprocess=merge_preprocess_dict(PreprocessCfg(), config.get("preprocess_cfg") or {}),
        weights=Weights(name, chosen),
        tokenizer_folder=folder,
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path} cannot be read: {error}", param="backbone") from error
    model = config.get("model_cfg") if isinstance(config, dict) else None
    parts = ("vision_cfg", "text_cfg")
    if not isinstance(model, dict) or not all(isinstance(model.get(p), dict) for p in parts):
        raise BackboneError(
            f"{path} is not an open_clip config: it needs model_cfg with embed_dim, vision_cfg and "
            "text_cfg",
            param="backbone",
        )
    return dict(config)


def _check_suffix(file: Path) -> None:
    if file.suffix not in WEIGHT_SUFFIXES:
        raise BackboneError(
            f"{file} must be a file of weights ({', '.join(WEIGHT_SUFFIXES)})",
            param="backbone",
        )


def _refuse_unsupported(source: Source) -> None:
    """Raise BackboneError, before any download, if the prompt of a model cannot be tuned."""
    if source.model_cfg["text_cfg"].get("hf_model_name"):
        raise BackboneError(
            f"{source.name} has a Hugging Face text encoder, which is not supported; use a model "
            "with open_clip's text tower, such as ViT-B-16/openai",
            param="backbone",
        )
    if "multimodal_cfg" in source.model_cfg:
        raise BackboneError(
            f"{source.name} is a CoCa model, which is not supported; use a CLIP, MobileCLIP or "
            "SigLIP model such as ViT-B-16/openai",
            param="backbone",
        )
