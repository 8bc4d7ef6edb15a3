"""Pauses are noted, not waited for; no settings from outside."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, in seconds."""
    noted: list[float] = []
    monkeypatch.setattr("dspt_client._io.time.sleep", noted.append)
    monkeypatch.delenv("DSPT_URL", raising=False)
    monkeypatch.delenv("DSPT_API_KEY", raising=False)
    return noted
