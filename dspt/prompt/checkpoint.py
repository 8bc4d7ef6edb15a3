"""The trainer's state on disk, so that an interrupted job can continue.

A checkpoint belongs to one job with one configuration, its `identity`. A checkpoint with another
identity or a wrong digest is ignored: the tuning then starts from the beginning.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dspt.config import TuneConfig
from dspt.kit.files import atomic_write
from dspt.prompt.trainer import EpochReport, TunerState

_FORMAT = 4
"""Version of the checkpoints, and of steps that continue them to the same bits."""


class Checkpoint:
    """A file with the state after the last complete epoch and the reports up to it."""

    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity

    def save(self, state: TunerState, history: Sequence[EpochReport]) -> None:
        """Replace the file atomically. Raises OSError, for example if the disk is full."""
        context, momentum = torch.stack([state.context, state.momentum]).cpu()  # one transfer
        tensors = {"context": context.contiguous(), "momentum": momentum.contiguous()}
        metadata = {
            "identity": self._identity,
            "epoch": str(state.epoch),
            "history": json.dumps([vars(report) for report in history]),
        }
        metadata["sha256"] = _digest(metadata, tensors)
        atomic_write(self._path, save(tensors, metadata=metadata))

    def load(self, device: torch.device) -> tuple[TunerState, list[EpochReport]] | None:
        """Return the saved state and reports; None if this job has no valid checkpoint."""
        found = _read(self._path)
        if found is None or found[0]["identity"] != self._identity:
            return None
        metadata, tensors = found
        history = [EpochReport(**report) for report in json.loads(metadata["history"])]
        context, momentum = (tensors[name].to(device) for name in ("context", "momentum"))
        return TunerState(int(metadata["epoch"]), context, momentum), history


def epochs_done(path: Path) -> int:
    """Return the number of epochs before a checkpoint; 0 if it is missing or damaged."""
    found = _read(path)
    return 0 if found is None else int(found[0]["epoch"])


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]] | None:
    """Return the metadata and tensors of a checkpoint; None if it is missing or damaged."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in ("context", "momentum")}
    except (FileNotFoundError, SafetensorError):
        return None
    stored = metadata.pop("sha256", None)
    return (metadata, tensors) if stored == _digest(metadata, tensors) else None


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over the contents of a checkpoint, to detect damage."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def identity_of(
    config: TuneConfig,
    backbone_digest: str,
    precision: str,
    dataset_sha256: str,
    class_words: Sequence[str],
    rows: Sequence[NDArray[np.int64]],
) -> str:
    """SHA-256 (hex) over everything that the result of a tuning depends on.

    Another machine may continue with it, so the versions of this package and of torch are part of
    it.

    precision: of the image tower; rows: the training rows, those of them to tune on, and the groups
    of copies; the folds follow from these and the seed.
    """
    code = [_FORMAT, version("dspt"), torch.__version__]
    backbone = [backbone_digest, precision]
    parts = [code, config.model_dump(), backbone, dataset_sha256, list(class_words)]
    digest = hashlib.sha256(json.dumps(parts).encode())
    for part in rows:
        digest.update(f"{len(part)}/".encode() + part.tobytes())
    return digest.hexdigest()
