"""`python -m benchmarks.scale`: the simulated GPU, and the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.scale.host import SimulatedGpu
from benchmarks.scale.report import markdown
from dspt.config import TuneConfig
from dspt.errors import Cancelled
from dspt.kit.progress import Listener, Progress


@dataclass
class Heard(Listener):
    epochs: list[int] = field(default_factory=list)
    fractions: list[float] = field(default_factory=list)

    def metrics(self, metrics: dict[str, Any]) -> None:
        self.epochs.append(metrics["epoch"])

    def progress(self, progress: Progress) -> None:
        self.fractions.append(progress.fraction)


def test_the_simulated_gpu_reports_as_a_real_job_and_can_be_stopped() -> None:
    result: Any = SimpleNamespace(metrics={"history": [{"epoch": 1, "loss": 0.5}]})
    gpu, heard, nothing = SimulatedGpu(result, 0.001), Heard(), Any
    config = TuneConfig.parse({"epochs": 4})
    found = gpu.tune(nothing, config, listener=heard, should_stop=lambda: False)  # type: ignore[arg-type]
    assert found is result
    assert heard.epochs == [1, 2, 3, 4]
    assert heard.fractions == sorted(heard.fractions)
    stopped = Heard()
    with pytest.raises(Cancelled):
        gpu.tune(  # type: ignore[arg-type]
            nothing, config, listener=stopped, should_stop=lambda: len(stopped.epochs) == 2
        )
    assert stopped.epochs == [1, 2]


def test_the_report_compares_with_one_host_and_with_no_fault() -> None:
    text = markdown(
        {
            "command": "command",
            "machine": {"processor": "p", "cpus": 2, "python": "3.11"},
            "versions": {"dspt": "1"},
            "settings": {
                "jobs_per_host": 8,
                "gpu_seconds": 6.0,
                "heartbeat_seconds": 1.0,
                "away_seconds": 60,
                "models": 100,
                "tower_seconds": 0.1,
                "callers": 4,
            },
            "hosts": [
                {"hosts": 1, "jobs_per_second": 0.16},
                {"hosts": 4, "jobs_per_second": 0.6},
            ],
            "faults": [{"fault": "the bucket silent", "jobs_per_second": 0.3}],
            "predictions": [
                {"hosts": 1, "predictions_per_second": 8.0},
                {"hosts": 4, "predictions_per_second": 31.0},
            ],
        }
    )
    assert "| 4 | 0.600 | 3.75 | 94% |" in text
    assert "| 4 | 31.000 | 3.88 | 97% |" in text
    assert "| the bucket silent | 0.300 | 50% |" in text
