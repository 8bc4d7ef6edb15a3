"""`python -m benchmarks.builtin_zero_shot`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.builtin_zero_shot.__main__ import BENCHMARK
from benchmarks.skeleton.program import run
from dspt.backbones import Backbone
from tests.photographs import write_photographs


def test_the_command(tmp_path: Path, builtin: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.builtin_zero_shot.run.load_builtin", lambda folder: builtin)
    split = write_photographs(tmp_path / "split", ("cat", "coffee"), train=1, test=3)
    whole = write_photographs(tmp_path / "whole", ("cat", "coffee"), train=2)
    arguments = ["--data", str(split), str(whole), "--out", str(tmp_path)]
    assert run(BENCHMARK, arguments) == 0
    document = json.loads((tmp_path / "builtin_zero_shot.json").read_text())
    assert [row["images"] for row in document["datasets"]] == [6, 4]
    assert all(row["accuracy"] > row["chance"] == 50 for row in document["datasets"])
    text = (tmp_path / "builtin_zero_shot.md").read_text()
    assert f"Weights {builtin.digest}" in text
    assert "| split | 2 | 6 | " in text
    assert "| **mean** |" in text
