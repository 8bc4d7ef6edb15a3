"""Memory limits as control groups state them."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from app.predictions.settings import PredictionSettings
from dspt.kit.memory import available_memory, memory_limit, permanent

GIB = 1 << 30
MACHINE = {"proc/meminfo": f"MemTotal:       {8 * GIB // 1024} kB\nMemFree:  1 kB\n"}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in (MACHINE | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n"}, None),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, None),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": f"{4 * GIB}\n",
                "sys/fs/cgroup/a/memory.max": f"{3 * GIB}\n",
                "sys/fs/cgroup/memory.max": "max\n",
            },
            3 * GIB,
        ),
        (  # in a container, whose path is the host's
            {
                "proc/self/cgroup": "0::/docker/0123\n",
                "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
                "sys/fs/cgroup/memory.high": f"{GIB}\n",
            },
            GIB,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/x\n",
                "sys/fs/cgroup/memory/x/memory.limit_in_bytes": f"{GIB}\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            GIB,
        ),
        (  # version 1 without a limit
            {
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            None,
        ),
    ],
)
def test_limit(tmp_path: Path, files: dict[str, str], limit: int | None) -> None:
    root = write(tmp_path, files)
    assert memory_limit(root) == limit
    assert available_memory(root) == (8 * GIB if limit is None else limit)


def test_unknown(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None
    assert available_memory(tmp_path) is None


@pytest.mark.parametrize(
    ("memory", "backbones", "matrices"),
    [(None, 4 * GIB, GIB // 2), (GIB, GIB // 2, GIB // 16), (64 * GIB, 4 * GIB, GIB // 2)],
)
def test_budgets_of_predictions_follow_it(
    monkeypatch: pytest.MonkeyPatch, memory: int | None, backbones: int, matrices: int
) -> None:
    monkeypatch.setattr("app.predictions.settings.available_memory", lambda: memory)
    settings = PredictionSettings()
    assert (settings.backbone_bytes, settings.cached_bytes) == (backbones, matrices)


def test_budget_of_the_text_tower_follows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from dspt.prompt import text_encoder

    for limit, budget in ((None, 2 * GIB), (4 * GIB, GIB), (64 * GIB, 2 * GIB)):
        monkeypatch.setattr(text_encoder, "memory_limit", lambda limit=limit: limit)
        assert text_encoder.memory_budget(torch.device("cpu")) == budget


def test_what_is_permanent_is_not_collected() -> None:
    try:
        with permanent():
            assert not gc.isenabled()
            made: list[object] = []
        assert gc.isenabled()
        assert not any(each is made for each in gc.get_objects())
    finally:
        gc.unfreeze()
    assert any(each is made for each in gc.get_objects())
