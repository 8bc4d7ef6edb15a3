"""The measures of a ranking, the methods that rank, and the tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.audit_quality.rankings import (
    CLEANLAB_SCORES,
    by_cleanlab,
    flag_scores,
    rank_scores,
    safe,
)
from benchmarks.audit_quality.report import FLAG_LABELS, LABELS, best_peer, markdown
from benchmarks.noise_robustness.linear import issues


def mask(n: int, *rows: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    found = np.zeros(n, dtype=bool)
    found[list(rows)] = True
    return found


# ---------------------------------------------------------------------------------------- scores


def test_a_perfect_ranking() -> None:
    suspicion = np.linspace(1, 0, 20)
    found = rank_scores(suspicion, mask(20, 0, 1, 2, 3))
    assert found["auc"] == 1
    assert found["precision_at_k"] == 1
    assert found["recall_at_first"] == 0.5  # two of twenty looked at, four to be found


def test_a_ranking_upside_down() -> None:
    found = rank_scores(np.linspace(0, 1, 20), mask(20, 0, 1, 2, 3))
    assert (found["auc"], found["precision_at_k"], found["recall_at_first"]) == (0, 0, 0)


def test_equals_count_as_their_mean_over_all_orders() -> None:
    found = rank_scores(np.zeros(20), mask(20, 0, 1, 2, 3))
    assert found["auc"] == 0.5
    assert found["precision_at_k"] == pytest.approx(0.2)
    assert found["recall_at_first"] == pytest.approx(0.1)
    # the wrong one is among two equals behind a right one
    found = rank_scores(np.array([3.0, 2, 2, 1]), mask(4, 1))
    assert found["precision_at_k"] == 0


def test_between_two_images_the_curve_is_straight() -> None:
    found = rank_scores(np.array([2.0, 1]), mask(2, 0))
    assert found["recall_at_first"] == pytest.approx(0.2)


@pytest.mark.parametrize("rows", [(), range(5)])
def test_nothing_to_rank_gives_nothing(rows: Any) -> None:
    assert rank_scores(np.arange(5.0), mask(5, *rows)) == {}


def test_flags_are_counted() -> None:
    found = flag_scores(mask(10, 0, 1, 2), mask(10, 2, 3))
    assert found == {"flagged": 3, "right": 1, "wrong": 2, "clean": 8}


# -------------------------------------------------------------------------------------- rankings


def planted(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, np.ndarray[Any, Any]]:
    """Features (90, 8) of three classes, given labels with nine wrong ones, and which."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(90) % 3
    centres = torch.eye(8)[:3]
    noise = 0.1 * torch.randn(90, 8, generator=generator)
    features = torch.nn.functional.normalize(centres[truth] + noise, dim=1)
    given = truth.clone()
    given[:9] = (truth[:9] + 1) % 3
    return features, given, (given != truth).numpy()


def test_every_method_finds_plain_mistakes() -> None:
    features, given, wrong = planted()
    probabilities = (5 * features[:, :3]).softmax(1)
    rankings = {
        name: by_cleanlab(probabilities.double().numpy(), given.numpy(), name)
        for name in CLEANLAB_SCORES
    }
    for name, suspicion in rankings.items():
        assert suspicion.shape == (90,), name
        assert rank_scores(suspicion, wrong)["auc"] == 1, name
    flagged = issues(given.numpy(), probabilities.double().numpy())
    assert np.array_equal(flagged, wrong)


def test_cleanlab_bears_certainty_and_classes_without_images() -> None:
    given = np.arange(20) % 2
    certain = np.eye(3)[given]
    certain[0] = [0, 1, 0]
    for name in CLEANLAB_SCORES:
        suspicion = by_cleanlab(certain, given, name)
        assert np.isfinite(suspicion).all()
        if name != "confidence_weighted_entropy":  # see by_cleanlab
            assert suspicion.argmax() == 0
    assert issues(given, safe(certain)).tolist() == [True] + [False] * 19
    assert not issues(np.zeros(20, dtype=np.int64), safe(certain)).any()


# ----------------------------------------------------------------------------------------- tables


def cell(dataset: str, seed: int, wrong: float, auc: float) -> dict[str, Any]:
    """A record in which the audit has `auc`, cleanlab's margin .75 and all others .5."""
    name = f"global-symmetric-{100 * wrong:g}" if wrong else "clean"
    kind = "symmetric" if wrong else "clean"

    def scores(value: float) -> dict[str, Any]:
        return {
            "auc": value,
            "precision_at_k": value,
            "recall_at_first": value / 2,
        }

    own = {"ours": auc, "cleanlab_normalized_margin": 0.75}
    count = round(100 * wrong)
    flags = {"flagged": 10, "right": 5 if wrong else 0, "wrong": count, "clean": 100 - count}
    return {
        "name": f"{dataset}-16shot-{name}-seed{seed}",
        "dataset": dataset,
        "shots": 16,
        "seed": seed,
        "noise": {"name": name, "kind": kind, "protocol": "global", "rate": wrong, "column": ""},
        "images": 100,
        "wrong_share": wrong,
        "rankings": {m: scores(own.get(m, 0.5)) if wrong else {} for m in LABELS},
        "flags": dict.fromkeys(FLAG_LABELS, flags),
        "can_tell": True,
        "noise_rate": {"estimate": 0.1, "low": 0.0, "high": 0.2},
        "logistic_c": 3.0,
        "seconds": 1.0,
    }


def test_expectations_are_compared_with_what_was_found() -> None:
    short = [{"first": 10, "wrong": 4.0, "found": 5}, {"first": 12, "wrong": 5.0, "found": 6}]
    long = [
        {"first": 10, "wrong": 8.0, "found": 9},
        {"first": 20, "wrong": 12.25, "found": 10},
        {"first": 40, "wrong": 15.0, "found": 16},
    ]
    text = markdown(document(*(CELLS[1] | {"expected": steps} for steps in (short, long))))
    assert "| data | 10 | 20 | all |" in text
    assert "| photos | 6.0 / 7.0 | 12.2 / 10.0 | 10.0 / 11.0 |" in text
    assert "Wrong labels to expect" not in markdown(document(*CELLS))  # of an earlier version


def document(*cells: dict[str, Any]) -> dict[str, Any]:
    return {
        "command": "python -m benchmarks.audit_quality --data photos",
        "settings": {"shots": [16], "seeds": [1, 2], "backbone": "builtin"},
        "machine": {"processor": "a processor", "cpus": 2, "system": "Linux x86_64"},
        "versions": {"dspt": "0.1.0"},
        "python": "3.11",
        "dtype": "torch.float32",
        "backbone_digest": "f" * 64,
        "failed": {},
        "cells": list(cells),
    }


CELLS = [
    cell("photos", 1, 0.0, 0.0),
    cell("photos", 1, 0.25, 0.8),
    cell("photos", 2, 0.25, 0.9),
    cell("paintings", 1, 0.25, 0.7),
    cell("paintings", 2, 0.25, 0.7),
]


def test_the_tables_say_what_was_measured() -> None:
    text = markdown(document(*CELLS))
    assert best_peer(CELLS[1:]) == "cleanlab_normalized_margin"
    assert "audit 0.775, the best score of cleanlab (normalized margin) 0.750" in text
    assert "better in 1 of them; its worst is paintings, symmetric 25 %: -0.050" in text
    # deviation over the two seeds of the mean over data sets: .75 and .8
    assert "| **audit** | 0.775 ± 0.035 | 0.775 |" in text
    assert "| photos | **audit** | 0.850 ± 0.071 |" in text
    assert "| photos | **audit** | 10.0 false | 50 / 20 |" in text
    assert "| paintings | **audit** | – | 50 / 20 |" in text
    # 0 % lies in 0 to 20 %, 25 % does not
    assert "In all: 1 of 5 runs (20%)" in text
    assert "| photos | 10 (0 to 20), 1 of 1 | 10 (0 to 20), 0 of 2 |" in text


def test_without_noise_there_is_no_ranking() -> None:
    clean = document(CELLS[0])
    text = markdown(clean)
    assert "## Ranking" not in text
    assert "10.0 false" in text


def test_runs_that_cannot_tell_are_counted() -> None:
    text = markdown(document({**CELLS[1], "can_tell": False, "noise_rate": None}))
    assert "In all: 0 of 0 runs; 1 runs without an estimate" in text
