"""Several API processes on one machine."""

from __future__ import annotations

import pytest

from app.predictions.settings import shares


def test_each_process_has_its_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, of_four = shares(1), shares(4)
    assert alone.keys() == of_four.keys()
    for name, value in of_four.items():
        assert 1 <= int(value) <= int(alone[name])
    monkeypatch.setenv("DSPT_PREDICT_TOWER_THREADS", "3")
    assert "DSPT_PREDICT_TOWER_THREADS" not in shares(4)
