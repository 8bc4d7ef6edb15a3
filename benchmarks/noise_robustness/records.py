"""Finished cells on disk: one JSON file each, whole or absent, found again by a key."""

from __future__ import annotations

import ast
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import dspt
from benchmarks.noise_robustness.cells import Job
from benchmarks.noise_robustness.encode import EncodedSet
from benchmarks.noise_robustness.settings import Cell, MethodName, Settings
from dspt.backbones import Backbone
from dspt.kit.device import tuning_dtype
from dspt.kit.files import atomic_write

PACKAGES = ("dspt", "torch", "numpy", "open_clip_torch", "timm", "scikit-learn", "cleanlab")
"""Whose versions decide the figures."""

Record = dict[str, Any]


class Records:
    """The folder `cells` of a result."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, cell: Cell, key: str | None = None) -> Record | None:
        """The record of `cell`, unless it is missing or was made under another key than `key`."""
        path = self._path(cell)
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict) or (key is not None and found.get("key") != key):
            return None
        return found

    def put(self, cell: Cell, record: Mapping[str, Any]) -> None:
        atomic_write(self._path(cell), (json.dumps(record) + "\n").encode())

    def _path(self, cell: Cell) -> Path:
        return self._folder / f"{cell.name}.json"


def make_record(
    job: Job,
    data: EncodedSet,
    key: str,
    identity: Mapping[str, Any],
    result: Mapping[str, Any],
) -> Record:
    """All of a cell: what it is, its flip map by file, and what came out."""
    cell = job.cell
    return {
        "key": key,
        "identity": dict(identity),
        "dataset_sha256": data.sha256,
        "classes": len(data.classes),
        "test_images": data.n_test,
        "name": cell.name,
        "dataset": cell.dataset,
        "shots": cell.shots,
        "seed": cell.seed,
        "noise": {**asdict(cell.noise), "name": cell.noise.name},
        "wrong_share": float(np.mean(job.given != job.true)),
        "images": len(job.given),
        "files": [data.files[at] for at in job.positions],
        "true": job.true.tolist(),
        "given": job.given.tolist(),
        **result,
    }


def cell_key(job: Job, data: EncodedSet, settings: Settings, identity: Mapping[str, Any]) -> str:
    """SHA-256 over everything that decides the record of `job`."""
    whole = {
        **identity,
        "cell": asdict(job.cell),
        "recipe": asdict(settings.recipe),
        "methods": settings.methods,
        "default": settings.tune_config(job.cell.seed).model_dump(),
        "logistic_c": settings.logistic_c,
        "class_words": data.class_words,
        "images": [data.hashes[at] for at in job.positions],
        "given": job.given.tolist(),
        "true": job.true.tolist(),
        "test": data.test_sha256,
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def identity_of(backbone: Backbone, settings: Settings) -> dict[str, Any]:
    """What decides all figures alike: weights, arithmetic, versions, code."""
    return {
        "backbone_digest": backbone.digest,
        "device": backbone.device.type,
        "dtype": str(tuning_dtype(settings.precision, backbone.device) or "torch.float32"),
        "versions": versions(),
        "python": platform.python_version(),
        "code": code_digest(),
    }


def missing_packages(methods: Sequence[MethodName]) -> list[str]:
    """What `methods` and the figures need of the extra `benchmarks` and is not installed."""
    wanted = ["matplotlib"]
    if {"logistic", "logistic_cleanlab"} & set(methods):
        wanted += ["sklearn", "cleanlab"]
    return [name for name in wanted if find_spec(name) is None]


def versions() -> dict[str, str]:
    """Versions of PACKAGES, of those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def code_digest() -> str:
    """SHA-256 over the code of the library and of the methods here, comments left out.

    The version of a package under development does not change with its code.
    """
    here = Path(__file__).parent
    library = Path(dspt.__file__).parent
    files = [path for path in library.rglob("*.py") if path.relative_to(library).parts[0] != "cli"]
    files += [here / name for name in ("cells.py", "methods.py", "linear.py")]
    return digest_of_code(sorted(files))


def digest_of_code(files: Iterable[Path]) -> str:
    """SHA-256 over the syntax trees of `files`, without comments and docstrings."""
    digest = hashlib.sha256()
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                # docstrings, and those of attributes
                node.body = [part for part in body if not _is_string(part)]  # type: ignore[attr-defined]
        digest.update(f"{path.name}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()


def _is_string(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
