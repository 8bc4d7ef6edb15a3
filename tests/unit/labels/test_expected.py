"""The expected number of wrong labels down the list of an audit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dspt.labels.audit import AuditEntry, AuditReport
from dspt.labels.noise_rate import NoiseRate


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


def numbered(n: int) -> list[tuple[int, AuditEntry]]:
    return list(enumerate(report(n).entries))


@pytest.mark.parametrize(
    ("n", "firsts"), [(160, [10, 20, 50, 100, 160]), (7, [7]), (100, [10, 20, 50, 100]), (0, [])]
)
def test_steps_end_with_all_entries(n: int, firsts: list[int]) -> None:
    assert [step["first"] for step in report(n).to_dict()["expected_wrong"]] == firsts


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
def test_the_whole_list_agrees_with_the_share_of_wrong_labels(share: float) -> None:
    found = replace(report(160), noise_rate=NoiseRate(share, 0.0, 1.0))
    assert found.expected_wrong(160) == pytest.approx(share * 160, abs=1e-3)
    assert found.to_dict()["expected_wrong"][-1]["wrong"] == pytest.approx(share * 160, abs=0.01)
    steps = [found.expected_wrong(1, after=row) for row in range(160)]
    assert steps == sorted(steps, reverse=True)


def test_what_is_far_above_the_share_of_wrong_labels_is_less_certain() -> None:
    likely = [replace(entry, score=0.99 if row < 2 else 0.01) for row, entry in numbered(100)]
    found = replace(report(100), entries=tuple(likely), noise_rate=NoiseRate(0.02, 0.0, 0.1))
    assert 0.4 < found.expected_wrong(1) < 0.7
    assert found.expected_wrong(98, after=2) == pytest.approx(0.02 * 100 - found.expected_wrong(2))


def test_copies_of_a_confirmed_photo_are_certain() -> None:
    copies = [
        replace(entry, score=float(row < 3), group=7 if row in (0, 1, 2, 98, 99) else None)
        for row, entry in numbered(100)
    ]
    copies[99] = replace(copies[99], kept=True)
    found = replace(report(100), entries=tuple(copies), noise_rate=NoiseRate(0.1, 0.0, 0.2))
    assert found.expected_wrong(3) == 3
    assert found.expected_wrong(2, after=98) == 0
    assert found.expected_wrong(100) == pytest.approx(10, abs=1e-3)


def test_all_labels_may_be_confirmed() -> None:
    entries = tuple(replace(entry, kept=True, score=0.0) for entry in report(5).entries)
    assert replace(report(5), entries=entries).expected_wrong(5) == 0


def test_confirmed_labels_are_not_expected_to_be_wrong() -> None:
    confirmed = [replace(entry, kept=entry.score == 0) for entry in report(160).entries]
    found = replace(report(160), entries=tuple(confirmed), noise_rate=NoiseRate(0.2, 0.1, 0.3))
    assert found.expected_wrong(1, after=159) == 0
    assert found.expected_wrong(160) == pytest.approx(32, abs=1e-3)


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
