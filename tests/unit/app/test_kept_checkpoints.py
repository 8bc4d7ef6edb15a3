"""A job's checkpoint in a bucket: the newest state is there for the next worker."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from obstore.store import MemoryStore

from app.jobs.lifecycle.lease import JobLease
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.ids import new_id
from app.kit.settings import Settings
from app.kit.storage import Storage, StorageUnavailable
from app.kit.storage.local import LocalStorage
from app.kit.storage.objects import ObjectStorage
from app.leased.lease import StopRequest
from dspt.errors import Cancelled
from dspt.prompt.checkpoint import Checkpoint, epochs_done
from dspt.prompt.trainer import EpochReport, TunerState
from tests.services import wait_until
from worker.checkpoints import kept_checkpoint

JOB = new_id("job")
KEY = storage_keys.checkpoint(JOB)


HELD = StopRequest(cancel=False, release=True, lost=False)


@dataclass(frozen=True)
class Lease(JobLease):
    """A lease whose stop request the test chooses."""

    request: StopRequest = HELD

    def stop_request(self) -> StopRequest:
        return self.request


@pytest.fixture
def bucket() -> ObjectStorage:
    return ObjectStorage(MemoryStore(), "memory://")


def lease_on(
    folder: Path, storage: Storage, request: StopRequest = HELD, *, seconds: float = 3600
) -> Lease:
    settings = Settings(data_dir=folder, checkpoint_seconds=seconds)
    context = Context(settings, cast("Any", None), storage)
    return Lease(context, JOB, "lease", "worker", request)


def save(path: Path, epochs: int) -> None:
    state = TunerState(epochs, torch.full((2, 3), float(epochs)), torch.zeros(2, 3))
    reports = [EpochReport(epoch, 0.5, 0.5, 0.0, 0.1) for epoch in range(1, epochs + 1)]
    Checkpoint(path, "identity").save(state, reports)


def stored_epochs(storage: Storage, folder: Path) -> int:
    try:
        data = storage.read_bytes(KEY)
    except FileNotFoundError:
        return 0
    copy = folder / "copy"
    copy.write_bytes(data)
    return epochs_done(copy)


def stop_in(lease: Lease, epochs: int) -> None:
    """Tune up to an epoch, and stop."""
    with suppress(Cancelled), kept_checkpoint(lease) as path:
        save(path, epochs)
        raise Cancelled("the worker stops")


def test_the_bucket_follows_the_tuning(bucket: ObjectStorage, tmp_path: Path) -> None:
    with kept_checkpoint(lease_on(tmp_path / "one", bucket, seconds=0.01)) as path:
        save(path, 1)
        wait_until(lambda: stored_epochs(bucket, tmp_path) == 1, 60, "the copy")
        save(path, 2)
        wait_until(lambda: stored_epochs(bucket, tmp_path) == 2, 60, "the newer copy")


def test_another_machine_continues_from_the_last_epoch(
    bucket: ObjectStorage, tmp_path: Path
) -> None:
    stop_in(lease_on(tmp_path / "one", bucket), 3)
    with kept_checkpoint(lease_on(tmp_path / "other", bucket)) as path:
        assert epochs_done(path) == 3
    bucket.delete(KEY)
    with suppress(Cancelled), kept_checkpoint(lease_on(tmp_path / "third", bucket)) as path:
        assert epochs_done(path) == 0
        raise Cancelled("before the first epoch")
    assert stored_epochs(bucket, tmp_path) == 0


def test_what_was_fetched_is_not_sent_back(bucket: ObjectStorage, tmp_path: Path) -> None:
    stop_in(lease_on(tmp_path / "one", bucket), 3)
    with suppress(Cancelled), kept_checkpoint(lease_on(tmp_path / "other", bucket)):
        bucket.delete(KEY)
        raise Cancelled("before another epoch")
    assert stored_epochs(bucket, tmp_path) == 0


@pytest.mark.parametrize("damaged", [False, True], ids=["older", "damaged"])
def test_a_worse_state_does_not_replace_that_on_the_machine(
    bucket: ObjectStorage, tmp_path: Path, damaged: bool
) -> None:
    stop_in(lease_on(tmp_path / "one", bucket), 5 if damaged else 2)
    if damaged:
        bucket.put_bytes(KEY, bucket.read_bytes(KEY)[:-1])
    lease = lease_on(tmp_path / "other", bucket)
    save(lease.context.settings.checkpoint_dir / f"{JOB}.safetensors", 3)
    with kept_checkpoint(lease) as path:
        assert epochs_done(path) == 3


@pytest.mark.parametrize("reason", ["lost", "cancel"])
def test_a_worker_without_the_job_changes_nothing(
    bucket: ObjectStorage, tmp_path: Path, reason: str
) -> None:
    stop_in(lease_on(tmp_path / "one", bucket), 4)
    request = StopRequest(cancel=reason == "cancel", release=False, lost=reason == "lost")
    stop_in(lease_on(tmp_path / "late", bucket, request), 2)
    assert stored_epochs(bucket, tmp_path) == 4


def test_a_bucket_that_is_away_is_tried_again(
    bucket: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []
    put = bucket.put_bytes

    def put_bytes(key: str, data: bytes) -> None:
        tries.append(key)
        if len(tries) < 3:
            raise StorageUnavailable("the storage did not answer within 5 s")
        put(key, data)

    monkeypatch.setattr(bucket, "put_bytes", put_bytes)
    with kept_checkpoint(lease_on(tmp_path / "one", bucket, seconds=0.01)) as path:
        save(path, 1)
        wait_until(lambda: stored_epochs(bucket, tmp_path) == 1, 60, "the copy")
    assert tries == [KEY] * 3


def test_a_folder_gets_no_copy(tmp_path: Path) -> None:
    storage = LocalStorage((tmp_path / "storage").as_uri())
    stop_in(lease_on(tmp_path / "one", storage), 2)
    assert list(storage.files()) == []
