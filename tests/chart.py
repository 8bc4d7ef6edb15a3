"""The Helm chart, rendered as Helm does it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "docker" / "helm" / "dspt"
#: Sets of values that the chart is tested with.
VALUES = sorted((ROOT / "tests" / "unit" / "chart" / "values").glob("*.yaml"))


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm. Skips the test if it is not installed."""
    found = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
    if found is None:
        pytest.skip("helm is not installed: .venv/bin/python -m scripts.helm")
    return subprocess.run([found, *arguments], capture_output=True, text=True, check=False)


@cache
def rendered(values: Path, *arguments: str) -> tuple[dict[str, Any], ...]:
    """The objects of a release named dspt. Do not change them."""
    command = ("template", "dspt", str(CHART), "--namespace", "vision", "--values", str(values))
    result = helm(*command, *arguments)
    assert result.returncode == 0, result.stderr
    return tuple(one for one in yaml.load_all(result.stdout, yaml.CSafeLoader) if one)  # fast


def of_kind(objects: tuple[dict[str, Any], ...], *kinds: str) -> dict[str, dict[str, Any]]:
    """The objects of these kinds by name."""
    return {one["metadata"]["name"]: one for one in objects if one["kind"] in kinds}


def templates(objects: tuple[dict[str, Any], ...]) -> dict[str, dict[str, Any]]:
    """The template of the pods of each object that makes some, by its name."""
    found = of_kind(objects, "Deployment", "Job", "ScaledJob")
    return {
        name: one["spec"].get("jobTargetRef", one["spec"])["template"]
        for name, one in found.items()
    }


def pods(objects: tuple[dict[str, Any], ...]) -> dict[str, dict[str, Any]]:
    """The specification of the pods of each object that makes some, by its name."""
    return {name: template["spec"] for name, template in templates(objects).items()}


def environment(pod: dict[str, Any]) -> dict[str, str | None]:
    """The variables of a pod's container; None: from a Secret."""
    [container] = pod["containers"]
    return {variable["name"]: variable.get("value") for variable in container["env"]}
