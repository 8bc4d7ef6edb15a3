"""Values made fit for JSON in every database."""

from __future__ import annotations

import numpy as np
import pytest

from worker.jsonable import jsonable


def test_values_that_databases_refuse() -> None:
    value = {
        "a\x00": [1, 2.5, float("nan"), float("-inf"), None, True],
        "b": ("x\x00y", np.float32(0.5), np.arange(2)),
        1: "text",
    }
    assert jsonable(value) == {
        "a": [1, 2.5, None, None, None, True],
        "b": ["xy", 0.5, [0, 1]],
        "1": "text",
    }


def test_types_that_json_cannot_hold() -> None:
    with pytest.raises(TypeError, match="object"):
        jsonable(object())
