"""The command's parts that need no service."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.hostile_input import families
from benchmarks.hostile_input.case import Case
from benchmarks.hostile_input.reader import Reading
from benchmarks.hostile_input.report import markdown
from benchmarks.hostile_input.run import Attack, Findings, figures
from benchmarks.hostile_input.send import Answer, Outcome
from benchmarks.hostile_input.service import Processes, Watched

MACHINE = {
    "processor": "a processor",
    "cpus": 2,
    "load_at_start": 0.1,
    "python": "3.11",
    "versions": {"torch": "2"},
}


@pytest.mark.parametrize("kind", ["archives", "images"])
def test_the_same_seed_makes_the_same_files_of_all_families(kind: str) -> None:
    make, names = getattr(families, kind), getattr(families, kind.upper())
    first = list(make(3, len(names)))
    assert {case.family for case in first} == set(names)
    assert list(make(3, 20)) == first[:20]
    assert [case.data for case in make(4, 20)] != [case.data for case in first[:20]]


def findings(worst: Outcome = "failed", worker: int = 2) -> Findings:
    case, other = Case("traversal", 0, b"x"), Case("one pixel", 0, b"y")
    reading = Reading("refused", "unsafe_path", 0.25, 30 << 20)
    processes = Processes(1, 2, 3)
    return Findings(
        read={"archive": [(case, reading)], "image": [(other, reading)]},
        written=[],
        attacks=[
            Attack("as jobs", [Answer(case, worst, "unsafe_path")], 2.0),
            Attack("in zips", [Answer(other, "harmless", "")], 1.0),
            Attack("to /predict", [Answer(other, "rejected", "not an image")], 1.0),
        ],
        watched=Watched({"API": 100 << 20}, {"API": 300 << 20}, 0, 5 << 20, 0),
        before=processes,
        after=Processes(1, worker, 3),
        sound_job="succeeded",
        left_behind=[],
    )


def document(found: Findings) -> dict[str, Any]:
    return {"command": "command", "machine": MACHINE, "seed": 1, **figures(found)}


def test_the_tables() -> None:
    told = document(findings())
    assert told["right"]
    assert told["memory_mib"] == {"API": {"before": 100, "peak": 300}}
    text = markdown(told)
    assert "| as jobs | 1 | 0 | 1 | 0 | 0 | 0 | 2 |" in text
    assert "| traversal | 1 | 1 |  | 0.25 | 30 |" in text
    assert "| one pixel | 1 | 1 |  | 1 |  | 0.25 | 30 |" in text
    assert "## Errors" not in text


def test_errors_are_listed() -> None:
    told = document(findings("wrong"))
    assert not told["right"]
    assert "## Errors\n\n- traversal-0: unsafe_path" in markdown(told)
    assert not findings(worker=9).right
