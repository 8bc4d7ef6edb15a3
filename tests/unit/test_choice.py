"""Which classifier is served."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dspt.choice import choose_served


def sure_of(*classes: int) -> Tensor:
    """Probabilities of three classes that are sure of these."""
    return torch.full((len(classes), 3), 0.1).scatter(1, torch.tensor(classes)[:, None], 0.8)


GIVEN = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("tuned", "zero_shot", "expected", "shares"),
    [
        (sure_of(0, 1, 2, 1), sure_of(0, 1, 0, 1), "tuned", ("75.0%", "50.0%")),
        (sure_of(0, 1, 0, 1), sure_of(0, 1, 2, 1), "zero_shot", ("50.0%", "75.0%")),
        (sure_of(0, 1, 1, 1), sure_of(1, 1, 2, 1), "tuned", ("50.0%", "50.0%")),  # a tie
        (sure_of(1, 2, 0, 2), sure_of(2, 0, 1, 1), "tuned", ("0.0%", "0.0%")),
    ],
)
def test_the_one_that_agrees_more_is_served_and_tuning_in_a_tie(
    tuned: Tensor, zero_shot: Tensor, expected: str, shares: tuple[str, str]
) -> None:
    served, why = choose_served(tuned, zero_shot, GIVEN)
    assert served == expected
    assert f"tuning agrees with {shares[0]} of the given labels and zero-shot with {shares[1]}" in (
        why
    )
    assert "4 training images" in why
    assert why.startswith("Tuned: " if served == "tuned" else "Zero-shot: ")
    assert why.endswith(".")
    assert ("would not help" in why) == (served == "zero_shot")


def test_agreement_counts_and_not_confidence() -> None:
    timid = torch.tensor([[0.4, 0.3, 0.3], [0.3, 0.4, 0.3], [0.3, 0.3, 0.4], [0.4, 0.3, 0.3]])
    assert choose_served(timid, sure_of(0, 1, 2, 1), GIVEN)[0] == "tuned"
