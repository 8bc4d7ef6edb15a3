"""Pools of workers: which one takes what, and a GPU for each worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.backbones.allowed import pool_for
from app.kit.http.errors import Unprocessable
from app.kit.pools import Pool, queue_of, start_command
from app.kit.settings import Settings
from worker.gpu import GpuError, use_gpu

POOLS = [Pool(name="gpu", backbones=("ViT-L-14/openai",)), Pool(name="cpu", backbones=("builtin",))]


def test_the_first_pool_that_takes_all_backbones_gets_the_work() -> None:
    assert pool_for(POOLS, "builtin") == "cpu"
    assert pool_for(POOLS, "ViT-L-14/openai") == "gpu"
    for_all = [*POOLS, Pool(name="all", backbones="*")]
    assert pool_for(for_all, "builtin", "ViT-L-14/openai") == "all"
    with pytest.raises(Unprocessable, match="DSPT_POOLS") as refused:
        pool_for(POOLS, "ViT-B-16/openai")
    assert refused.value.code == "no_pool"


def test_without_the_setting_one_pool_takes_all() -> None:
    assert pool_for(Settings().pools, "anything") == "default"


def test_the_queue_of_the_default_pool_keeps_its_name() -> None:
    assert queue_of("default") == "dspt"
    assert queue_of("gpu") == "dspt.gpu"
    assert start_command("default") == "dspt worker"
    assert start_command("gpu") == "dspt worker --pool gpu"


@pytest.mark.parametrize(
    "pools",
    [
        '[{"name": "A", "backbones": "*"}]',
        '[{"name": "a", "backbones": "some"}]',
        '[{"name": "a", "backbones": "*"}, {"name": "a", "backbones": "*"}]',
        '[{"name": "a", "backbone": "*"}]',
    ],
)
def test_wrong_pools_are_refused(pools: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPT_POOLS", pools)
    with pytest.raises(ValidationError, match="pools"):
        Settings()


def test_each_worker_of_a_machine_gets_a_gpu_of_its_own(tmp_path: Path) -> None:
    devices, locks = tmp_path / "dev", tmp_path / "data"
    devices.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (devices / name).touch()
    first: dict[str, str] = {}
    second: dict[str, str] = {}
    one, two = (use_gpu("auto", locks, each, devices) for each in (first, second))
    assert one is not None
    assert two is not None
    assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]) == ("0", "1")
    with two:
        with pytest.raises(GpuError, match="all 2 GPUs"):
            use_gpu("auto", locks, {}, devices)
        one.close()
        third: dict[str, str] = {}
        freed = use_gpu("auto", locks, third, devices)
        assert freed is not None
        freed.close()
    assert third["CUDA_VISIBLE_DEVICES"] == "0"


def test_a_gpu_is_one_of_those_that_the_process_may_use(tmp_path: Path) -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "3, 5"}
    lock = use_gpu("auto", tmp_path, environment, tmp_path)
    assert lock is not None
    lock.close()
    assert environment["CUDA_VISIBLE_DEVICES"] == "3"


def test_a_gpu_by_its_number_and_a_machine_without_one(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    assert use_gpu("auto", tmp_path, environment, tmp_path) is None
    assert environment == {}
    (tmp_path / "nvidia0").touch()
    for none in ("", "-1"):
        assert use_gpu("auto", tmp_path, {"CUDA_VISIBLE_DEVICES": none}, tmp_path) is None
    assert use_gpu("0", tmp_path, environment, tmp_path) is None
    assert environment == {"CUDA_VISIBLE_DEVICES": "0"}
    assert use_gpu("GPU-5ebe9f43", tmp_path, environment, tmp_path) is None
    assert environment == {"CUDA_VISIBLE_DEVICES": "GPU-5ebe9f43"}


@pytest.mark.parametrize(
    ("wanted", "files", "message"),
    [
        ("0", [], "--gpu 0: this machine has no GPU"),
        ("GPU-5ebe9f43", ["nvidiactl"], "--gpu GPU-5ebe9f43: this machine has no GPU"),
        ("1", ["nvidia0"], "--gpu 1: this machine has no such GPU; its only GPU is 0"),
        ("7", ["nvidia0", "nvidia1"], "its 2 GPUs are 0 to 1"),
        ("-1", ["nvidia0"], "must be the number of a GPU"),
        ("first", ["nvidia0"], "must be the number of a GPU"),
    ],
)
def test_a_gpu_that_the_machine_lacks_is_refused(
    wanted: str, files: list[str], message: str, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).touch()
    environment: dict[str, str] = {}
    with pytest.raises(GpuError, match=message):
        use_gpu(wanted, tmp_path, environment, tmp_path, tmp_path / "driver")
    assert environment == {}


def test_a_driver_may_make_the_files_of_gpus_later(tmp_path: Path) -> None:
    assert use_gpu("0", tmp_path, {}, tmp_path, driver=tmp_path) is None


@pytest.mark.parametrize("driver", ["dxg", "kfd", "nvmap"])
def test_a_driver_without_a_file_for_each_gpu_may_have_any(driver: str, tmp_path: Path) -> None:
    (tmp_path / driver).touch()
    environment: dict[str, str] = {}
    assert use_gpu("7", tmp_path, environment, tmp_path) is None
    assert environment == {"CUDA_VISIBLE_DEVICES": "7"}
