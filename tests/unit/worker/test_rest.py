from __future__ import annotations

import gc
import signal

import pytest
import torch  # noqa: F401 - a process without it does not rest

from worker.rest import rest_after


def test_what_a_job_leaves_is_examined_for_garbage_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.rest.signal.setitimer", lambda *_: None)
    handler = signal.getsignal(signal.SIGALRM)
    try:
        with rest_after(60):
            kept = [object()]
        assert not any(each is kept for each in gc.get_objects())  # of all that are examined
    finally:
        gc.unfreeze()
        signal.signal(signal.SIGALRM, handler)
