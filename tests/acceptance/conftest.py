"""One running service for all tests, and one job on it that has succeeded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.demo.stack import running_stack
from tests.acceptance.photos import good_zip
from tests.acceptance.service import Json, run_job
from tests.hostile.service import ONE_PROCESS

#: A backbone that the operator allows, though it is not there.
MISSING_FOLDER = "local-dir:/nowhere/at/all"


@pytest.fixture(scope="session")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files of the service."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="session")
def stack_environment(tmp_path_factory: pytest.TempPathFactory, temporary: Path) -> dict[str, str]:
    """No settings from outside, no hub, and nothing that was downloaded from it before."""
    return {
        "DSPT_DATABASE_URL": "",
        "DSPT_BROKER_URL": "",
        "DSPT_STORAGE_URL": "",
        "DSPT_LOCAL_BACKBONES": f'["{MISSING_FOLDER}"]',
        **ONE_PROCESS,
        "TMPDIR": str(temporary),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path_factory.mktemp("hub")),
    }


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory, converted_towers: Path) -> Path:
    """A folder as an earlier run leaves it: the API need not convert the image tower."""
    folder = tmp_path_factory.mktemp("stack") / "data"
    shutil.copytree(converted_towers, folder / "towers")
    return folder


@pytest.fixture(scope="session")
def service(data_dir: Path, stack_environment: dict[str, str]) -> Iterator[httpx.Client]:
    """The whole stack, as `dspt serve` starts it."""
    log = data_dir.with_name("serve.log")
    with (
        running_stack(data_dir, log, stack_environment) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def tuned(service: httpx.Client) -> Json:
    """A job that has succeeded."""
    job = run_job(service, good_zip())
    assert job["status"] == "succeeded", job["error"]
    return job
