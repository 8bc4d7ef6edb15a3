"""Each fault drill once, on two services of real processes: no job is lost or done twice.

`python -m benchmarks.fault_drills` does the same many times over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.kit import storage_keys
from app.kit.ids import new_id
from benchmarks.fault_drills.client import ENDED
from benchmarks.fault_drills.drills import ALL
from benchmarks.fault_drills.examine import orphans
from benchmarks.fault_drills.run import Ground, Repeat, ground
from benchmarks.fault_drills.stack import QUICK_HEARTBEAT, Shape
from benchmarks.fault_drills.trial import Drill, Trial
from benchmarks.stack import Part
from tests.depth import rounds
from tests.warm import Warm

pytestmark = pytest.mark.slow

COLD = Part._started
EPOCHS = 5  # of a job that a fault hits; the benchmark takes twelve times as many
DRILLS = {drill.name: drill for drill in ALL}
PROVED_ELSEWHERE = {
    "kill-worker": "test_bucket",
    "kill-child": "test_worker, test_bucket",
    "poison": "test_worker",
    "cancel": "test_worker, test_job_machine",
    "stop-everything": "test_worker",
    "redis": "redis-data-lost",
    "postgres": "test_database_away",
    "backup": "test_restore_drill",
    "clock": "test_heartbeat_monitor, as nothing compares wall clocks",
}
"""Drills of `make test-deep` alone, and what `make test` has of them."""
ON_SQLITE = ("cancel", "duplicates", "disk-full", "clock")
ON_POSTGRES = tuple(name for name in DRILLS if name not in ON_SQLITE)


@pytest.fixture(scope="module", autouse=True)
def _short_drills() -> Iterator[None]:
    """Rarer rounds of housekeeping, which take CPU time while a drill waits, and shorter freezes.

    What a frozen service does after the time limits of the API is in test_frozen.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.fault_drills.stack.HOUSEKEEPING", 0.3)
        patch.setattr("benchmarks.fault_drills.drills.services._LONGEST_FREEZE", rounds(2.0, 8.0))
        yield


@pytest.fixture(scope="module")
def warm_parts(warm_start: Warm) -> Iterator[None]:
    """Parts of a stack need no seconds to import torch, nor to send a lost message again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Part,
            "_started",
            lambda part: warm_start.dspt(
                part.arguments, part.environment, part.log, "tests.integration.quick_outbox"
            ),
        )
        yield


@pytest.fixture(scope="module")
def on_postgres(tmp_path_factory: pytest.TempPathFactory, warm_parts: None) -> Iterator[Ground]:
    # The drills that kill workers need a second one.
    shape = Shape(workers=rounds(1, 2), heartbeat=QUICK_HEARTBEAT, epochs=EPOCHS)
    with ground(shape, "postgresql", tmp_path_factory.mktemp("drills")) as found:
        yield found


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory, warm_parts: None) -> Iterator[Ground]:
    """With small disks, where these can be had."""
    disks = DRILLS["disk-full"]
    prepare = Shape().prepare if disks.needs("sqlite") else disks.shape.prepare
    with ground(
        Shape(prepare=prepare, epochs=EPOCHS), "sqlite", tmp_path_factory.mktemp("drills")
    ) as found:
        yield found


@pytest.fixture
def with_a_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """With a clock to move, which is preloaded, so parts start cold.

    No worker dies, so a slow one should not soon count as dead.
    """
    monkeypatch.setattr(Part, "_started", COLD)
    shape = replace(DRILLS["clock"].shape, workers=1, heartbeat=10.0, epochs=EPOCHS)
    with ground(shape, "sqlite", tmp_path) as found:
        yield found


def once(found: Ground, drill: Drill) -> Repeat:
    redis = found.stack.servers.redis
    if redis.append_only != drill.shape.append_only:
        redis.stop()
        redis.append_only = drill.shape.append_only
        redis.start()
    return found.repeat(drill, f"{drill.name}-test")


def drills(names: Iterable[str]) -> list[Any]:
    return [
        pytest.param(name, marks=[pytest.mark.deep] if name in PROVED_ELSEWHERE else [])
        for name in names
    ]


@pytest.mark.parametrize("name", drills(ON_POSTGRES))
def test_nothing_is_lost_on_postgres(name: str, on_postgres: Ground) -> None:
    repeat = once(on_postgres, DRILLS[name])
    assert repeat.verdict.right, repeat


@pytest.mark.parametrize("name", drills(ON_SQLITE))
def test_nothing_is_lost_on_sqlite(name: str, request: pytest.FixtureRequest) -> None:
    reason = DRILLS[name].needs("sqlite")
    if reason:
        pytest.skip(reason)
    ground = "with_a_clock" if name == "clock" else "on_sqlite"
    repeat = once(request.getfixturevalue(ground), DRILLS[name])
    assert repeat.verdict.right, repeat


def test_files_without_references_are_found_and_collected(on_postgres: Ground) -> None:
    stack = on_postgres.stack
    key = storage_keys.model(new_id("mdl"))
    stack.context.storage.put_bytes(key, b"")
    assert key in orphans(stack)
    stack.collect_garbage()
    assert not orphans(stack)


def test_a_loss_is_noticed(on_postgres: Ground) -> None:
    def lose_the_model(trial: Trial) -> None:
        client = trial.stack.client
        model_id = client.until(trial.post(epochs=1), *ENDED, seconds=60)["model_id"]
        trial.stack.context.storage.delete(f"models/{model_id}.safetensors")

    repeat = on_postgres.repeat(Drill("lossy", "", lose_the_model), "lossy")
    assert any("cannot be downloaded" in what for what in repeat.verdict.lost), repeat
    assert any("not in the storage" in what for what in repeat.verdict.lost), repeat
