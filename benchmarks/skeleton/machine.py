"""What decides the figures of a run besides its options: machine, versions and code."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import dspt
from dspt.kit.cpus import available_cpus

PACKAGES = ("dspt", "torch", "numpy", "open_clip_torch", "timm", "scikit-learn", "cleanlab")
"""Packages whose versions decide the accuracy of what is tuned."""
_SHOWN = {"cli", "__main__.py", "report.py", "summary.py", "figures.py"}
"""Folders and files whose code decides what is shown, but no figure."""


def machine() -> dict[str, Any]:
    """Return processor, CPUs, system and load average; never the name of the machine."""
    return {
        "processor": _processor(),
        "cpus": available_cpus(),
        "cpus_of_machine": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": load_average(),
    }


def torch_machine(device: str) -> dict[str, Any]:
    """Return what decides the speed of torch on `device`. Imports torch."""
    import torch

    found: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bfloat16_instructions": bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
    }
    if device != "cpu":
        found |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return found


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of those `packages` that are installed."""
    found = {"Python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def load_average() -> float | None:
    """Return the load average of the last minute; None where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def code_digest(*names: str) -> str:
    """Return SHA-256 over the code of dspt and of these folders of benchmarks, reports aside.

    The version of a package under development does not change with its code.
    """
    roots = [Path(__file__).parents[1] / name for name in sorted(set(names))]
    return digest_of_code(
        path
        for root in (Path(dspt.__file__).parent, *roots)
        for path in sorted(root.rglob("*.py"))
        if not _SHOWN.intersection(path.relative_to(root).parts)
    )


def digest_of_code(files: Iterable[Path]) -> str:
    """Return SHA-256 over the syntax trees of `files`, without comments and docstrings."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\n{_syntax(path.read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()


@cache
def _syntax(source: str) -> str:
    """Return the syntax tree of a module as text, without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # docstrings, and those of attributes
            node.body = [part for part in body if not _is_string(part)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_string(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
