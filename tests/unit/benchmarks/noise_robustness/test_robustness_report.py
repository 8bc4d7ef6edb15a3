"""Statistics, table and figures from records made up for the purpose."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from PIL import Image

from benchmarks.noise_robustness.report import markdown
from benchmarks.noise_robustness.settings import CLEAN, Cell, Noise
from benchmarks.noise_robustness.summary import Results
from benchmarks.skeleton.report import Spread

SYM_25, SYM_50 = Noise("symmetric", "global", 0.25), Noise("symmetric", "global", 0.5)
ASYM_25 = Noise("asymmetric", "global", 0.25)
HUMAN = Noise("human", column="worse")


def record(dataset: str, noise: Noise, seed: int, **accuracies: float) -> dict[str, Any]:
    cell = Cell(dataset, 16, noise, seed)
    methods: dict[str, Any] = {
        name: {"accuracy": value, "correct": int(value)} for name, value in accuracies.items()
    }
    if "default" in methods:
        methods["default"] |= {"served": "tuned" if seed == 1 else "zero_shot", "why": "so"}
    return {
        "name": cell.name,
        "dataset": dataset,
        "shots": 16,
        "seed": seed,
        "noise": {
            "kind": noise.kind,
            "protocol": noise.protocol,
            "rate": noise.rate,
            "column": noise.column,
            "name": noise.name,
        },
        "wrong_share": noise.rate,
        "images": 8,
        "methods": methods,
        "seconds": {"losses": 1.0},
    }


RECORDS = [
    record("pets", CLEAN, 1, zero_shot=50, ce=70, dspt=66, default=69),
    record("pets", CLEAN, 2, zero_shot=50, ce=74, dspt=68, default=70),
    record("pets", SYM_50, 1, zero_shot=50, ce=40, dspt=60, default=50),
    record("pets", SYM_50, 2, zero_shot=50, ce=44, dspt=62, default=48.4),
    record("dtd", CLEAN, 1, zero_shot=40, ce=60, dspt=50, default=60),
    record("dtd", CLEAN, 2, zero_shot=40, ce=64, dspt=54, default=60),
    record("dtd", SYM_50, 1, zero_shot=40, ce=30, dspt=45, default=46),
    record("dtd", SYM_50, 2, zero_shot=40, ce=30, dspt=47, default=46),
]


def test_scores_are_means_and_sample_deviations_over_seeds() -> None:
    results = Results(RECORDS)
    assert results.score("ce", "pets", "clean") == Spread(72, pytest.approx(math.sqrt(8)), 2)
    assert results.score("ce", "pets", "global-symmetric-25") is None
    # of (70 + 60) / 2 and (74 + 64) / 2
    assert results.mean_score("ce", "clean") == Spread(67, pytest.approx(math.sqrt(8)), 2)


def test_the_mean_takes_seeds_that_all_sets_have() -> None:
    results = Results(RECORDS[:-1])  # dtd lacks seed 2 at 50 %
    assert results.mean_score("ce", SYM_50.name) == Spread(35, None, 1)


def test_what_unlabelled_photos_add_is_reported_apart() -> None:
    records = [
        record("pets", CLEAN, 1, zero_shot=50, default=60, default_unlabelled=64),
        record("pets", CLEAN, 2, zero_shot=50, default=60, default_unlabelled=58),
        record("pets", SYM_50, 1, zero_shot=50, default=60, default_unlabelled=61),
    ]
    results = Results(records)
    assert results.methods == ("zero_shot", "default")
    assert results.gains("pets", CLEAN.name) == [4, -2]
    text = markdown(document(records))
    section = text[text.index("### With unlabelled photos") :]
    assert "| pets | +1.0 ± 4.2 (-2.0) | +1.0 (+1.0) |" in section
    assert "Mean over 3 runs: +1.0." in section
    assert "### With unlabelled photos" not in markdown(document(RECORDS))


def document(records: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "command": "python -m benchmarks.noise_robustness --data pets dtd",
        "machine": {"processor": "a processor", "cpus": 2, "system": "Linux x86_64"},
        "versions": {"Python": "3.11", "dspt": "0.1"},
        "settings": {"backbone": "builtin"},
        "backbone_digest": "ab" * 32,
        "dtype": "torch.float32",
        "failed": {"dtd-broken": "ValueError: why"},
        "cells": records,
    }


def test_the_table_tells_scores_goals_and_failures() -> None:
    lines = markdown(document(RECORDS)).splitlines()
    assert "| data | method | 0 % | 50 % |" in lines
    assert "| pets | CE (CoOp) | 72.0 ± 2.8 | 42.0 ± 2.8 |" in lines
    assert "| **mean** | **this service** | 64.8 ± 0.4 | 47.6 ± 0.6 |" in lines
    assert "Each value: mean ± standard deviation over 2 seeds (1, 2)." in lines
    text = "\n".join(lines)
    assert "**Failed:** dtd-broken: ValueError: why" in text
    means = "zero-shot 45.0; CE (CoOp) 51.5; DSPT, prompt alone 56.5; this service 56.2"
    assert f"Mean over 4 cells (data set x noise): {means}." in text
    assert "1 of 4 cells (pets symmetric 50 %: -0.8); the worst cell is pets symmetric 50 %" in text
    assert "1 of 8; the worst is pets symmetric 50 %, seed 2: -1.6" in text


def test_cells_that_are_missing_are_dashes_and_human_labels_have_their_own_table() -> None:
    some = [RECORDS[0], record("dtd", SYM_25, 1, ce=3), record("pets", HUMAN, 1, ce=30)]
    lines = markdown(document(some)).splitlines()
    assert "| pets | CE (CoOp) | 70.0 | – |" in lines
    assert "## 16 shots, labels by human annotators" in lines
    assert "| data | method | 0 % | human, worse |" in lines
    assert "| pets | CE (CoOp) | 70.0 | 30.0 |" in lines


def test_one_seed_has_no_deviation_beside_a_column_of_more() -> None:
    lines = markdown(document([*RECORDS[:2], record("pets", SYM_25, 1, ce=30, zero_shot=50)]))
    assert "Each value: one seed (1); 0 %: mean ± standard deviation over 2 seeds (1, 2)." in lines


def test_an_interrupted_run_says_so() -> None:
    assert "**Interrupted** after 8 cells." in markdown(document(RECORDS) | {"interrupted": True})


def test_figures_are_images_and_the_same_every_time() -> None:
    # Its drawing library would take each pytest process half a second.
    from benchmarks.noise_robustness.figures import accuracy_figures

    both = [*RECORDS, record("pets", ASYM_25, 1, zero_shot=50, dspt=50, default=50, ce=50)]
    first, again = document(both), document(both)
    drawn = accuracy_figures(first)
    redrawn = accuracy_figures(again)
    assert drawn.keys() == redrawn.keys()
    for name, data in drawn.items():
        assert len(data) < 100_000, name
        if name.endswith(".png"):
            # Ids within an SVG are digests of coordinates to the last bit of rounding.
            assert data == redrawn[name], name
            with Image.open(io.BytesIO(data)) as image:
                assert image.width > 500
        else:
            assert data.startswith(b"<?xml")
    svg = drawn["accuracy-global-16shot.svg"].decode()
    assert "Lines: mean of 2 seeds. Bands: ± 1 standard deviation over the seeds." in svg
    alone = accuracy_figures(document(RECORDS[::2]))["accuracy-global-16shot.svg"].decode()
    assert "One seed (1), therefore no bands." in alone
    assert "PolyCollection" in svg
    assert "PolyCollection" not in alone
    for words in ("pets", "dtd", "zero-shot", "this service", "asymmetric", "wrong labels %"):
        assert words in svg
