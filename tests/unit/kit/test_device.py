"""Where to compute, and in which arithmetic."""

from __future__ import annotations

import pytest
import torch

from dspt.errors import ConfigError
from dspt.kit.device import resolve_device, tuning_dtype


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    expected = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto") == torch.device(expected)


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="cuda:63, but this machine has") as caught:
        resolve_device("cuda:63")
    assert caught.value.param == "device"
    assert "auto or cpu" in caught.value.message


@pytest.mark.parametrize("name", ["tpu", "mps", "cuda:-1", "cuda:x", ""])
def test_other_devices(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_device(name)
    assert caught.value.param == "device"


def test_arithmetic() -> None:
    cpu = torch.device("cpu")
    assert tuning_dtype("float32", cpu) is None
    assert tuning_dtype("bfloat16", cpu) is torch.bfloat16
    assert tuning_dtype("auto", cpu) in (None, torch.bfloat16)


@pytest.mark.parametrize("capability", ["DEFAULT", "AVX2", "VSX"])
def test_a_processor_without_wide_vectors_stays_in_float32(
    capability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert tuning_dtype("auto", torch.device("cpu")) is None
