"""Which classifier is served."""

from __future__ import annotations

import math

import pytest

from dspt.classifier.choice import choose_served


@pytest.mark.parametrize(
    ("tuned", "zero_shot", "expected", "figures"),
    [
        (0.75, 0.5, "tuned", ("0.750", "0.500")),
        (0.5, 0.75, "zero_shot", ("0.500", "0.750")),
        (0.5, 0.5, "tuned", ("0.500", "0.500")),
        (1e-4, 2e-4, "zero_shot", ("0.000", "0.000")),  # both very unlikely
        (1.0, 0.999, "tuned", ("1.000", "0.999")),
    ],
)
def test_the_likelier_one_is_served_and_tuning_in_a_tie(
    tuned: float, zero_shot: float, expected: str, figures: tuple[str, str]
) -> None:
    served, why = choose_served(math.log(tuned), math.log(zero_shot), 17)
    assert served == expected
    assert f"a probability of {figures[0]} " in why
    assert f"zero-shot {figures[1]}" in why
    assert "on 17 training images" in why
    assert why.startswith("Tuned: " if served == "tuned" else "Zero-shot: ")
    assert why.endswith(".")
    assert ("would not help" in why) == (served == "zero_shot")


def test_without_images_to_compare_on_tuned_is_served_unchecked() -> None:
    served, why = choose_served(math.nan, math.nan, 0)
    assert served == "tuned"
    assert why.startswith("Tuned, unchecked: with a single image per class")
    assert "nan" not in why
    assert why.endswith(".")
