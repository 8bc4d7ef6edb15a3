"""Each fault drill once, on two services of real processes: no job is lost or done twice.

`python -m benchmarks.fault_drills` does the same many times over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.kit.settings import Settings
from benchmarks.fault_drills.client import ENDED
from benchmarks.fault_drills.drills import ALL
from benchmarks.fault_drills.run import Ground, ground
from benchmarks.fault_drills.stack import Shape
from benchmarks.fault_drills.storage import orphans
from benchmarks.fault_drills.trial import Drill, Trial

pytestmark = pytest.mark.slow

DRILLS = {drill.name: drill for drill in ALL}
ON_SQLITE = ("redis-data-lost", "api-enqueue", "cancel", "disk-full", "clock")
ON_POSTGRES = tuple(name for name in DRILLS if name not in ON_SQLITE)


@pytest.fixture(scope="module")
def on_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(Shape(), "postgresql", tmp_path_factory.mktemp("drills")) as found:
        yield found


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """With a Redis that forgets, small disks and a clock to move, where these can be had."""
    shapes = [drill.shape for name in ON_SQLITE if not (drill := DRILLS[name]).needs("sqlite")]

    def prepare(settings: Settings, cleanup: ExitStack) -> None:
        for shape in shapes:
            shape.prepare(settings, cleanup)

    def environment(folder: Path) -> dict[str, str]:
        return {
            name: value for shape in shapes for name, value in shape.environment(folder).items()
        }

    shape = Shape(workers=1, append_only=False, environment=environment, prepare=prepare)
    with ground(shape, "sqlite", tmp_path_factory.mktemp("drills")) as found:
        yield found


@pytest.mark.parametrize("name", ON_POSTGRES)
def test_nothing_is_lost_on_postgres(name: str, on_postgres: Ground) -> None:
    repeat = on_postgres.repeat(DRILLS[name], f"{name}-test")
    assert repeat.verdict.right, repeat


@pytest.mark.parametrize("name", ON_SQLITE)
def test_nothing_is_lost_on_sqlite(name: str, request: pytest.FixtureRequest) -> None:
    reason = DRILLS[name].needs("sqlite")
    if reason:
        pytest.skip(reason)
    found: Ground = request.getfixturevalue("on_sqlite")
    repeat = found.repeat(DRILLS[name], f"{name}-test")
    assert repeat.verdict.right, repeat


def test_what_the_dead_left_behind_is_collected(on_postgres: Ground) -> None:
    assert orphans(on_postgres.stack)
    on_postgres.stack.collect_garbage()
    assert not orphans(on_postgres.stack)


def test_a_loss_is_noticed(on_postgres: Ground) -> None:
    def lose_the_model(trial: Trial) -> None:
        client = trial.stack.client
        model_id = client.until(trial.post(epochs=1), *ENDED, seconds=60)["model_id"]
        trial.stack.context.storage.delete(f"models/{model_id}.safetensors")

    repeat = on_postgres.repeat(Drill("lossy", "", lose_the_model), "lossy")
    assert any("not in the storage" in what for what in repeat.verdict.lost), repeat
