"""One short run of `python -m benchmarks.load`, with everything that it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_short_run(tmp_path: Path) -> None:
    arguments = ["--minutes", "0.1", "--warm-up", "2", "--polls-per-second", "20"]
    arguments += ["--listeners", "10", "--stays", "3", "--submits-per-minute", "6"]
    arguments += ["--epochs", "40", "--out", str(tmp_path)]
    arguments += ["--engine", "torch"]  # to compile an image tower takes longer than all the rest
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", *arguments],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    document = json.loads((tmp_path / "load.json").read_text())
    figures, settings = document["figures"], document["settings"]
    assert (settings["listeners"], settings["polls"]) == (10, 20)
    assert figures["errors"] == 0, figures["statuses"]
    assert figures["events"]["received"] > 10
    assert (figures["events"]["lost"], figures["events"]["doubled"]) == (0, 0)
    assert figures["polls"]["count"] > 60
    assert 0 < figures["polls"]["p50"] <= figures["polls"]["p99"] <= figures["polls"]["max"]
    assert figures["latencies"]["prediction"]["count"] > 0
    assert figures["usage"]["API"]["first_mib"] > 50
    assert figures["usage"]["PostgreSQL"]["processes"] > 3
    assert "The service under load" in (tmp_path / "load.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {
        f"load.{ending}" for ending in ("json", "md", "png", "svg")
    }
