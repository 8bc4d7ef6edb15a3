"""Real processes with the built-in backbone, on features drawn at random."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from benchmarks.noise_robustness.cells import Job
from benchmarks.noise_robustness.cli import parse
from benchmarks.noise_robustness.pool import run_jobs
from benchmarks.noise_robustness.settings import Cell, Noise

pytestmark = pytest.mark.slow

SETTINGS = parse(["--data", "a", "--methods", "zero_shot", "dspt", "--epochs", "2"]).settings
LONG = parse(["--data", "a", "--methods", "dspt", "--epochs", "1000000"]).settings


class Deadly:
    """Ends the process that unpickles it, as the system does when memory runs out."""

    def __reduce__(self) -> tuple[Callable[[int], Any], tuple[int]]:
        return os._exit, (9,)


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    torch.manual_seed(1)
    labels = torch.arange(8) % 2
    file = tmp_path / "f.safetensors"
    features = F.normalize(torch.randn(8, 1, 512), dim=-1)
    save_file({"train": features, "test": features[:, 0].clone(), "test_labels": labels}, file)
    given = labels.numpy()
    return [
        Job(Cell("a", 4, Noise("clean"), seed), ("cat", "dog"), file, np.arange(8), given, given)
        for seed in range(4)
    ]


class Outcome:
    def __init__(self) -> None:
        self.done: dict[int, dict[str, Any]] = {}
        self.failed: dict[int, str] = {}

    def finish(self, job: Job, result: dict[str, Any]) -> None:
        self.done[job.cell.seed] = result

    def fail(self, job: Job, error: BaseException) -> None:
        self.failed[job.cell.seed] = f"{type(error).__name__}: {error}"


def test_a_job_that_raises_or_kills_its_process_fails_alone(jobs: list[Job]) -> None:
    jobs[0] = replace(jobs[0], positions=Deadly())  # type: ignore[arg-type]
    jobs[2] = replace(jobs[2], positions=np.array([800]))
    found = Outcome()
    run_jobs(jobs, SETTINGS, 2, done=found.finish, failed=found.fail)
    assert sorted(found.done) == [1, 3]
    assert set(found.done[1]["methods"]) == {"zero_shot", "dspt"}
    assert found.failed.keys() == {0, 2}
    assert found.failed[0] == "RuntimeError: its process died, perhaps for want of memory"
    assert found.failed[2].startswith("IndexError: ")
    assert multiprocessing.active_children() == []


def test_an_error_in_this_process_stops_the_others_at_once(jobs: list[Job]) -> None:
    jobs[1] = replace(jobs[1], positions=np.array([800]))

    def fail(job: Job, error: BaseException) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, LONG, 2, done=Outcome().finish, failed=fail)
    assert multiprocessing.active_children() == []


def test_processes_end_with_their_parent(jobs: list[Job]) -> None:
    parent = multiprocessing.get_context("spawn").Process(target=_run_for_ever, args=(jobs,))
    parent.start()
    assert parent.pid is not None
    deadline = time.monotonic() + 120
    while len(children := _children(parent.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    while any(_alive(child) for child in children):
        assert time.monotonic() < deadline, "processes outlived their parent"
        time.sleep(0.2)


def _run_for_ever(jobs: list[Job]) -> None:
    run_jobs(jobs, LONG, 2, done=Outcome().finish, failed=Outcome().fail)


def _children(pid: int) -> list[int]:
    """Processes started by `pid` that run cells (not multiprocessing's own resource tracker)."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("needs /proc")
    found = map(int, path.read_text().split())
    return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
