"""The whole pipeline on a simulated GPU: no tensor on the wrong device, few synchronisations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dspt.backbones.base import Backbone
from dspt.config import TuneConfig
from dspt.data import load_dataset
from dspt.pipeline import TuneResult, tune
from dspt.prompt import trainer
from tests.photographs import write_photographs
from tests.simulated_gpu import DEVICE, SimulatedGpu

CLASSES = ("cat", "coffee", "moon")
MOST_WAITS = 50
"""Of a job, outside of encoding its photos."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photos"), CLASSES, train=8, test=4)


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 << 33, 1 << 33))


def run(folder: Path, backbone: Backbone, device: str, checkpoint: Path, **settings: Any) -> Any:
    config = TuneConfig.parse({"precision": "float32", "device": device, **settings})
    with load_dataset(folder) as dataset:
        return tune(dataset, config, backbone=backbone, checkpoint_file=checkpoint)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        # An epoch or, with three in each, a step that waits would exceed the limit: 38 are needed.
        ("tiny", {"epochs": 14}),
        ("tiny", {"epochs": 5, "class_specific_context": True, "batch_size": 8}),
        ("tiny", {"tuning": "none"}),
        ("builtin", {"epochs": 1, "augment_views": 1, "classifier": "prompt"}),
    ],
)
def test_a_job_gives_the_same_result_and_seldom_waits(
    name: str,
    settings: dict[str, Any],
    folder: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_cpu: Backbone = request.getfixturevalue(name)
    if name == "tiny":  # as if it were a large task, which is fitted on the GPU
        monkeypatch.setattr("dspt.classifier.fit._SMALL", 0)
    else:
        folder = write_photographs(tmp_path / "few", CLASSES[:2], train=3, test=1)
    with SimulatedGpu() as gpu:
        backbone = gpu.move(on_cpu)
        found: TuneResult = run(folder, backbone, str(DEVICE), tmp_path / "gpu", **settings)
    expected: TuneResult = run(folder, on_cpu, "cpu", tmp_path / "cpu", **settings)
    for part in ("zero_shot", "prompt", "tuned"):
        assert found.metrics[part]["accuracy"] == expected.metrics[part]["accuracy"]
    assert len(found.metrics["history"]) == len(expected.metrics["history"])
    for ours, theirs in zip(found.metrics["history"], expected.metrics["history"], strict=True):
        assert ours == pytest.approx(theirs, abs=2e-3)
    by_file = {entry.file: entry.score for entry in expected.audit.entries}
    scores = [(entry.score, by_file[entry.file]) for entry in found.audit.entries]
    assert np.allclose(*np.transpose(scores), atol=1e-2)
    outside = {place: n for place, n in gpu.waits.items() if "features/encode" not in place}
    assert sum(outside.values()) <= MOST_WAITS, gpu.waits.most_common()


def test_the_steps_of_the_tuning_do_not_wait(
    tiny: Backbone, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many more steps between two reports cause no further synchronisation."""
    waits = []
    monkeypatch.setattr(trainer, "REPORTED_TOGETHER", 30)
    for epochs in (2, 5):
        with SimulatedGpu() as gpu:
            backbone = gpu.move(tiny)
            run(folder, backbone, str(DEVICE), tmp_path / str(epochs), epochs=epochs, batch_size=6)
        waits.append(sum(n for place, n in gpu.waits.items() if "prompt/" in place))
    assert waits[0] == waits[1]


def test_the_simulated_gpu_refuses_and_counts() -> None:
    with SimulatedGpu() as gpu:
        here = torch.ones(3)
        there = here.to("cuda:0", non_blocking=True)
        assert (there.device.type, there.is_cuda, here.device.type) == ("cuda", True, "cpu")
        assert (2 * there).device == (there + torch.tensor(1.0)).device == DEVICE
        with pytest.raises(RuntimeError, match="on cuda:0 and on the CPU"):
            there + here
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        with pytest.raises(RuntimeError, match="on cuda:0 and on the CPU"):
            torch.cat([there, here])
        assert not gpu.waits
        there.cpu()
        there.tolist()
        there.sum().item()
        bool(there.any())
        float(there[0])
        there[there > 0]
        there.nonzero()
        torch.tensor([1.0], device="cuda:0")
        here.to("cuda:0")
    assert sum(gpu.waits.values()) == 9, gpu.waits
