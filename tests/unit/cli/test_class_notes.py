"""The table of accuracies names classes that are not measured, and the mean over classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rich.console import Console

from dspt.cli.tables import accuracies, suspects
from dspt.report.evaluation import evaluate


def shown(
    labels: list[int], right: list[bool], config: dict[str, Any] | None = None, **changes: Any
) -> str:
    predicted = [label if ok else (label + 1) % 3 for label, ok in zip(labels, right, strict=True)]
    part = evaluate(np.eye(3)[predicted], labels, ["a", "b", "[c]"]).to_dict() | changes
    metrics = {"zero_shot": part, "prompt": part, "tuned": part, "served": "tuned"}
    console = Console(width=200)
    with console.capture() as captured:
        console.print(accuracies({**metrics, "measured_on": "test"}, config or {}))
    return captured.get()


def test_a_class_without_images_is_named() -> None:
    assert "not measured: [c]" in shown([0, 1], [True, True])
    assert "not measured" not in shown([0, 1, 2], [True, True, True])


def test_unequal_classes_show_the_mean_of_the_classes() -> None:
    text = shown([0] * 8 + [1] * 2 + [2] * 2, [True] * 8 + [False] * 4)
    assert "66.7%" in text
    assert "mean accuracy of the classes: 33.3%" in text
    assert "mean accuracy" not in shown([0, 1, 2], [True, True, True])


def test_results_of_earlier_versions_have_no_mean() -> None:
    text = shown([0, 0, 1, 2], [True, True, False, True], balanced_accuracy=None)
    assert "mean accuracy" not in text


@pytest.mark.parametrize("config", [{}, {"tuning": "prompt"}])
def test_a_tuned_prompt_has_a_row(config: dict[str, Any]) -> None:
    text = shown([0, 1, 2], [True] * 3, config)
    assert "tuned prompt alone" in text
    assert "class means" not in text


def test_where_no_prompt_was_tuned_nothing_is_called_tuned() -> None:
    text = shown([0, 1, 2], [True] * 3, {"tuning": "none"})
    assert "zero-shot with class means" in text
    assert "tuned" not in text


def test_suspects_come_with_the_wrong_labels_to_expect() -> None:
    entry = {"file": "a.jpg", "given": "a", "suggested": "b", "score": 0.9, "suspect": True}
    audit = {"can_tell": True, "why": "", "entries": [entry] * 40, "noise_rate": None}
    steps = [{"first": 10, "wrong": 8.4}, {"first": 20, "wrong": 9.6}, {"first": 40, "wrong": 10.0}]
    console = Console(width=200)
    with console.capture() as captured:
        console.print(suspects(audit | {"expected_wrong": steps}, 3))
        console.print(suspects(audit | {"expected_wrong": steps[-1:]}, 3))
        console.print(suspects(audit, 3))  # of an earlier version
    text = " ".join(captured.get().split())
    assert text.count("expected wrong labels: ") == 2
    assert "and 37 more; expected wrong labels: 10 among the first 20, 10 among all 40" in text
    assert "expected wrong labels: 10 among all 40" in text
