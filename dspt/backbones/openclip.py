"""Load backbones with open_clip: published weights, a file of weights, or a local folder."""

from __future__ import annotations

import math
import pickle  # only for its error class; nothing is unpickled  # nosec B403
import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import load_checkpoint, load_state_dict
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.tokenizer import SimpleTokenizer
from safetensors import SafetensorError, safe_open
from torch import nn

from dspt.backbones import hub
from dspt.backbones.base import Backbone
from dspt.backbones.catalog import TOKENIZER
from dspt.backbones.digest import backbone_digest
from dspt.backbones.penultimate import with_penultimate
from dspt.backbones.sources import Source, resolve
from dspt.backbones.text_tower import open_clip_text_tower
from dspt.backbones.tokenizer import HubTokenizer, OpenClipTokenizer
from dspt.backbones.transforms import Preprocess, make_augment
from dspt.backbones.uninitialized import Uninitialized
from dspt.backbones.weights import how_to_get
from dspt.errors import BackboneError, WeightsUnavailable

_OPENAI_MARKS = frozenset({"input_resolution", "context_length", "vocab_size"})
"""Entries that only OpenAI's state dicts have; these weights are always trained with QuickGELU."""
_TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AssertionError,
    pickle.UnpicklingError,
    SafetensorError,
)
"""Raised by torch, safetensors and open_clip for a damaged file or the file of another model."""

_PICKLED = re.compile(r"GLOBAL (\S+)")
"""In torch's refusal of a pickle, the function or class that it would call."""


def load_openclip(name: str, device: torch.device | str) -> Backbone:
    """Return the backbone `name` (see `dspt.backbones.sources`), frozen, in float32 on `device`.

    Raises UnknownBackbone, WeightsUnavailable, BackboneError.
    """
    source = resolve(name)
    file = source.weights.fetch()
    names = _names_in(file)
    openai = names >= _OPENAI_MARKS
    if openai:
        # Correct also when the plain architecture (GELU) was requested.
        source = replace(source, model_cfg=source.model_cfg | {"quick_gelu": True})
    tokenizer = _load_tokenizer(source)
    model = _build(source)
    _load_weights(model, file, source.name, openai=openai, has_bias="logit_bias" in names)
    text_tower = open_clip_text_tower(model, pad_id=tokenizer.pad_id)
    visual: Any = model.visual
    preprocess = source.preprocess | {"size": visual.image_size}
    size = preprocess["size"]
    digest = backbone_digest(model, source.model_cfg, preprocess, tokenizer)
    model.to(device)
    image_tower, penultimate_dim = with_penultimate(visual)
    logit_scale: Any = model.logit_scale
    return Backbone(
        name=source.name,
        digest=digest,
        image_tower=image_tower,
        text_tower=text_tower,
        tokenizer=tokenizer,
        preprocess=Preprocess(preprocess),
        augment=make_augment(preprocess),
        logit_scale=math.exp(logit_scale.item()),
        embed_dim=int(source.model_cfg["embed_dim"]),
        image_size=size if isinstance(size, int) else int(size[0]),
        activation="quickgelu" if source.quick_gelu else "gelu",
        penultimate_dim=penultimate_dim,
    )


def _build(source: Source) -> nn.Module:
    """Return the architecture; its weights are still to be loaded."""
    cfg = deepcopy(source.model_cfg)
    if cfg["vision_cfg"].get("timm_model_name"):
        cfg["vision_cfg"]["timm_model_pretrained"] = False
    kind = CustomTextCLIP if cfg.pop("custom_text", False) else CLIP
    try:
        with Uninitialized():
            model: nn.Module = kind(**cfg)
    except _UNREADABLE as error:
        raise BackboneError(
            f"open_clip {open_clip.__version__} cannot build {source.name}: {error}",
            param="backbone",
        ) from error
    return model


def _names_in(file: Path) -> set[str]:
    """Return the names of the tensors in a file. Raises WeightsUnavailable if it is damaged."""
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                return set(opened.keys())
        return set(load_state_dict(str(file), weights_only=True))
    except (*_UNREADABLE, StopIteration) as error:  # StopIteration: an empty archive
        raise _damaged(file, error) from error


def _load_weights(model: nn.Module, file: Path, name: str, *, openai: bool, has_bias: bool) -> None:
    """Copy all weights of a file into `model`. Raises WeightsUnavailable."""
    try:
        if has_bias and getattr(model, "logit_bias", None) is None:
            raise ValueError("it has a logit_bias (SigLIP), but this architecture does not")
        if openai:
            state = load_state_dict(str(file), weights_only=True)
            model.load_state_dict({k: v for k, v in state.items() if k not in _OPENAI_MARKS})
        else:
            load_checkpoint(model, str(file), strict=True, weights_only=True)
    except _UNREADABLE as error:
        lines = str(error).strip().splitlines()
        raise WeightsUnavailable(
            f"{file} does not contain the weights of {name}: {' '.join(lines[:3])[:500]}",
            param="backbone",
        ) from error


def _damaged(file: Path, error: BaseException) -> WeightsUnavailable:
    if "TorchScript" in str(error):
        return WeightsUnavailable(
            f"{file} is a TorchScript archive, which can run any code and is not opened. Download "
            "the same weights as safetensors (OpenAI's: the timm/*_clip*.openai repositories of "
            "the Hugging Face hub)",
            param="backbone",
        )
    reason = str(error)[:300] or type(error).__name__
    if isinstance(error, pickle.UnpicklingError):  # torch's text says how to run the file's code
        if found := _PICKLED.search(str(error)):
            return WeightsUnavailable(
                f"{file} contains Python objects ({found[1]}), which can run any code, and is not "
                "opened. Save the weights alone: torch.save(model.state_dict(), FILE)",
                param="backbone",
            )
        reason = "torch.save did not write it"
    return WeightsUnavailable(
        f"{file} is damaged or not a file of weights: {reason}", param="backbone"
    )


def _load_tokenizer(source: Source) -> OpenClipTokenizer | HubTokenizer:
    text_cfg = source.model_cfg["text_cfg"]
    options = dict(text_cfg.get("tokenizer_kwargs") or {})
    repo = text_cfg.get("hf_tokenizer_name")
    if text_cfg.get("tokenizer_mode") or set(options) - {"clean", "strip_sep_token"}:
        raise BackboneError(
            f"{source.name} needs a tokenizer with settings that are not supported: "
            f"{text_cfg.get('tokenizer_mode') or ''} {options}",
            param="backbone",
        )
    if not repo:
        return OpenClipTokenizer(SimpleTokenizer(**options) if options else None)
    folder = source.tokenizer_folder
    if folder is None or not (folder / TOKENIZER[0]).is_file():
        folder = _tokenizer_from_hub(source.name, repo)
    return HubTokenizer(folder, **options)


def _tokenizer_from_hub(name: str, repo: str) -> Path:
    try:
        folder = hub.fetch(repo, TOKENIZER).parent
    except hub.NotFetchedError as error:
        raise WeightsUnavailable(
            how_to_get(name, repo, TOKENIZER[0], str(error)), param="backbone"
        ) from error
    for filename in _TOKENIZER_SETTINGS:
        try:
            hub.fetch(repo, [filename])
        except hub.NotFetchedError:
            # A repository may lack one of the two; the tokenizer reports missing settings.
            continue
    return folder
