"""The process that has torch: its errors, its end, and another one after it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from app.kit.http.errors import ServiceUnavailable
from app.predictions.torch_child import TorchChild
from dspt.config import TuneConfig
from dspt.errors import ConfigError
from tests.services import wait_until


def test_a_process_that_ends_is_replaced() -> None:
    with closing(TorchChild(1)) as child:
        first = child.call(os.getpid)
        assert first != os.getpid()
        with pytest.raises(ZeroDivisionError) as caught:
            child.call(divmod, 1, 0)
        assert "in _serve" in caught.value.__notes__[0]
        with pytest.raises(ConfigError, match="epochs is 0"):  # one of dspt's own
            child.call(TuneConfig.parse, {"epochs": 0})
        with pytest.raises(ServiceUnavailable, match="has ended"):
            child.call(os._exit, 1)
        child._rest_seconds = 0
        second = child.call(os.getpid)
        assert second != first
        wait_until(lambda: not Path(f"/proc/{second}").exists(), 60, "the end of an idle process")
