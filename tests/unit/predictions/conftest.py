"""What all tests of predictions need."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True)
def _no_search_for_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among all that the tests have imported, at each load of a backbone."""
    monkeypatch.setattr(gc, "unfreeze", lambda: None)
