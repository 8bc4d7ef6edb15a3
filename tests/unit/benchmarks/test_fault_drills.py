"""The report of the fault drills."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.fault_drills.drills import ALL
from benchmarks.fault_drills.examine import Verdict
from benchmarks.fault_drills.report import markdown
from benchmarks.fault_drills.run import Outcome, Repeat

MACHINE: dict[str, Any] = {
    "processor": "p",
    "cpus": 2,
    "load_before": 0.5,
}


def test_the_documentation_counts_the_drills() -> None:
    text = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    assert f"tests this with {len(ALL)} drills" in text
    assert {"postgres-frozen", "redis-frozen", "backup"} < {drill.name for drill in ALL}


def test_the_table_counts_and_names_what_went_wrong() -> None:
    first = Verdict(resumed=1, identical=1, requeue_heartbeats=[2.0])
    second = Verdict(resumed=1, identical=1, requeue_heartbeats=[2.5, 3.5])
    lost = Verdict(lost=["job j ended failed"], doubled=["job j ended 2 times"])
    outcomes = [
        Outcome(
            ALL[0].name,
            ALL[0].what,
            every_repeat=[
                Repeat("tuning, epoch 3", 4.0, first, ["models/a"]),
                Repeat("tuning, epoch 9", 4.0, second),
                Repeat("queued", 60.0, lost, ["models/b", "audits/b"]),
            ],
        ),
        Outcome(ALL[1].name, ALL[1].what, skipped="no hammer here"),
    ]
    drills = [asdict(outcome) for outcome in outcomes]
    settings = {"database": "sqlite", "seed": 0}
    found = {"command": "command", "machine": MACHINE, "versions": {}}
    found |= {"settings": settings, "drills": drills}
    lines = markdown(found).splitlines()
    row = f"| {ALL[0].name} | 3 | 2 | 1 | 1 | 2 | 2 | 2.5, 3.5 | 3 | 0 |"
    assert [line for line in lines if line.startswith(f"| {ALL[0].name} ")] == [row]
    assert f"- {ALL[1].name}: {ALL[1].what} (skipped: no hammer here)" in lines
    assert f"- {ALL[0].name} 2 (queued): job j ended failed" in lines
    assert f"- {ALL[0].name} 2 (queued): job j ended 2 times" in lines
