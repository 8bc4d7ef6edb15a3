"""One short run of `python -m benchmarks.load`, with everything that it starts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.load import run as load
from benchmarks.load import summary
from benchmarks.load.__main__ import BENCHMARK
from benchmarks.skeleton.program import run
from benchmarks.stack import Part
from tests.acceptance.photos import photo, photos, zipped
from tests.warm import Warm


@pytest.mark.deep
def test_a_short_run(tmp_path: Path, warm_start: Warm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Part,
        "_started",
        lambda part: warm_start.dspt(part.arguments, part.environment, part.log),
    )
    data = SimpleNamespace(
        zip=zipped(photos("apple", "lime", count=6)),
        unseen=[SimpleNamespace(jpeg=photo("lime", 9, "JPEG"))],
    )
    monkeypatch.setattr(load, "make_demo_data", lambda seed: data)
    for module in (load, summary):
        monkeypatch.setattr(module, "SECONDS_BETWEEN", 1.0)
    arguments = ["--minutes", "0.06", "--warm-up", "1", "--polls-per-second", "20"]
    arguments += ["--listeners", "10", "--stays", "2", "--submits-per-minute", "20"]
    arguments += ["--predictions-per-second", "2", "--epochs", "40", "--out", str(tmp_path)]
    arguments += ["--engine", "torch"]  # compiling an image tower takes longer than all the rest
    assert run(BENCHMARK, arguments) == 0
    document = json.loads((tmp_path / "load.json").read_text())
    figures, settings = document["figures"], document["settings"]
    assert (settings["listeners"], settings["polls"]) == (10, 20)
    assert figures["errors"] == 0, figures["statuses"]
    assert figures["events"]["received"] > 10
    assert (figures["events"]["lost"], figures["events"]["doubled"]) == (0, 0)
    assert figures["polls"]["count"] > 30
    assert 0 < figures["polls"]["p50"] <= figures["polls"]["p99"] <= figures["polls"]["max"]
    assert figures["latencies"]["prediction"]["count"] > 0
    assert figures["usage"]["API"]["first_mib"] > 50
    assert figures["usage"]["PostgreSQL"]["processes"] > 3
    assert "The service under load" in (tmp_path / "load.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"load.json", "load.md"}
