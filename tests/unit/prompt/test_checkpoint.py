"""A checkpoint is read back as it was saved, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dspt.prompt.checkpoint import Checkpoint, epochs_done
from dspt.prompt.trainer import EpochReport, TunerState

CPU = torch.device("cpu")
REPORTS = [EpochReport(e, 0.1 * e, 0.5, 0.25, 0.01) for e in (1, 2)]


def state() -> TunerState:
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(2, 3, 4, 5, generator=generator)
    return TunerState(2, draw[0], draw[1])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "job.safetensors"
    Checkpoint(path, "mine").save(state(), REPORTS)
    return path


def is_whole(path: Path, identity: str = "mine") -> bool:
    """Whether there is something to go on from; it is what was saved then."""
    found = Checkpoint(path, identity).load(CPU)
    if found is None:
        return False
    (read, reports), expected = found, state()
    assert read.epoch == expected.epoch
    assert torch.equal(read.context, expected.context)
    assert torch.equal(read.momentum, expected.momentum)
    assert reports == REPORTS
    return True


def test_what_was_saved_is_read_back(saved: Path) -> None:
    assert is_whole(saved)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_checkpoint_of_another_job_is_ignored(saved: Path) -> None:
    assert not is_whole(saved, "another")


def test_a_missing_checkpoint_is_ignored(tmp_path: Path) -> None:
    assert not is_whole(tmp_path / "nothing")


def test_a_torn_checkpoint_is_ignored(saved: Path) -> None:
    data = saved.read_bytes()
    for length in range(0, len(data), 7):
        saved.write_bytes(data[:length])
        assert not is_whole(saved), length


def test_no_flipped_bit_is_taken_for_the_state(saved: Path) -> None:
    data = saved.read_bytes()
    taken = 0
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        saved.write_bytes(damaged)
        taken += is_whole(saved)  # it checks what it takes
    assert taken == 0


def test_the_epochs_done_are_those_of_a_whole_checkpoint(saved: Path, tmp_path: Path) -> None:
    assert epochs_done(saved) == 2
    assert epochs_done(tmp_path / "nothing") == 0
    saved.write_bytes(saved.read_bytes()[:-1])
    assert epochs_done(saved) == 0
