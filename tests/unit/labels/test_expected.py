"""The expected number of wrong labels down the list of an audit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dspt.labels.audit import AuditEntry, AuditReport
from dspt.labels.expected import expected_steps, wrong_probabilities


def scores(n: int) -> list[float]:
    """A fifth of the labels is probably wrong."""
    return [*np.linspace(1.0, 0.6, n // 5), *np.linspace(0.3, 0.0, n - n // 5)]


def report(n: int) -> AuditReport:
    entry = AuditEntry("", "a", "b", 0.0, 0.5, None, 0.5, False)
    entries = (
        replace(entry, file=str(row), given="ab"[row % 2], score=score)
        for row, score in enumerate(scores(n))
    )
    return AuditReport(True, "", tuple(entries))


def test_calibration_keeps_the_order_and_lowers_what_few_images_support() -> None:
    many, few = wrong_probabilities(scores(160), 2), wrong_probabilities(scores(160), 40)
    for found in (many, few):
        assert (np.diff(found) <= 0).all()
        assert ((found > 0) & (found < 1)).all()
    assert (few < many).all()
    assert few[:20].sum() < sum(scores(160)[:20])
    assert wrong_probabilities([], 3).size == 0


def test_steps_end_with_all_entries() -> None:
    firsts = [step["first"] for step in expected_steps(scores(160), 4)]
    assert firsts == [10, 20, 50, 100, 160]
    assert [step["first"] for step in expected_steps(scores(7), 2)] == [7]
    assert [step["first"] for step in expected_steps(scores(100), 2)] == [10, 20, 50, 100]
    assert expected_steps([], 2) == []
    wrong = [step["wrong"] for step in expected_steps(scores(160), 4)]
    assert wrong == sorted(wrong)
    assert wrong[-1] == pytest.approx(wrong_probabilities(scores(160), 4).sum(), abs=0.01)


def test_a_report_gives_the_next_entries_too() -> None:
    found = report(50)
    assert found.expected_wrong(10) + found.expected_wrong(10, after=10) == pytest.approx(
        found.expected_wrong(20)
    )
    assert found.expected_wrong(5) > found.expected_wrong(5, after=45)
    steps = found.to_dict()["expected_wrong"]
    assert [step["first"] for step in steps] == [10, 20, 50]
    assert steps[1]["wrong"] == pytest.approx(found.expected_wrong(20), abs=0.01)
    assert AuditReport.from_dict(found.to_dict()) == found


def test_a_ranking_no_better_than_chance_expects_nothing() -> None:
    found = replace(report(50), can_tell=False)
    assert found.expected_wrong(10) == 0
    assert found.to_dict()["expected_wrong"] == []
