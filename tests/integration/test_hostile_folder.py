"""The user's folder has files named like our modules: none of them runs, and all commands work."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.acceptance.photos import good_zip
from tests.services import RedisServer, clean_environment, free_port, redis_server, wait_until

DSPT = str(Path(sys.executable).with_name("dspt"))
NAMES = ("app", "worker", "dspt", "dspt_client", "calendar", "celery", "sitecustomize", "typer")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose files, if they run, write to `marks` and fail."""
    folder = tmp_path / "project"
    folder.mkdir()
    marks = tmp_path / "marks"
    for name in NAMES:
        code = (
            f"open({str(marks)!r}, 'a').write({name + chr(10)!r})\n"
            f"raise SystemExit('{name}.py of the user')\n"
        )
        (folder / f"{name}.py").write_text(code)
    return folder


def no_file_ran(folder: Path) -> bool:
    marks = folder.parent / "marks"
    return not marks.exists() or pytest.fail(marks.read_text())


@contextmanager
def running(folder: Path, environment: dict[str, str], *arguments: str) -> Iterator[Path]:
    """Run `dspt ARGUMENTS` in `folder`; yields its log."""
    log = folder.parent / f"{arguments[0]}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [DSPT, *arguments],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        ) as process,
    ):
        try:
            yield log
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def command(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [DSPT, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(900)
def test_the_whole_service_and_its_commands(folder: Path) -> None:
    (folder.parent / "photos.zip").write_bytes(good_zip())
    environment = clean_environment(COLUMNS="200")
    serve = ("serve", "--data-dir", str(folder.parent / "data"), "--port", "0")
    with running(folder, environment, *serve) as log:
        wait_until(lambda: re.search(r"API +http", log.read_text()), 600, "the service is up")
        url = re.findall(r"API +(http://\S+)", log.read_text())[0]
        environment["DSPT_URL"] = url
        told = command(
            folder, environment, "jobs", "submit", "../photos.zip", "--epochs", "2", "--watch"
        )
        assert "succeeded" in told
        command(folder, environment, "doctor")
        assert "job_" in command(folder, environment, "jobs", "list")
        keys = environment | {"DSPT_DATA_DIR": str(folder.parent / "data")}
        command(folder, keys, "keys", "list")
    assert no_file_ran(folder)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.mark.timeout(900)
def test_api_and_worker_by_themselves(folder: Path, redis: RedisServer) -> None:
    port = free_port()
    environment = clean_environment(
        DSPT_DATA_DIR=str(folder.parent / "data"),
        DSPT_BROKER_URL=redis.emptied(),
        DSPT_URL=f"http://127.0.0.1:{port}",
    )
    with (
        running(folder, environment, "api", "--port", str(port)) as api,
        running(folder, environment, "worker") as worker,
    ):

        def ready() -> bool:
            assert ".py of the user" not in api.read_text() + worker.read_text()
            try:
                found = httpx.get(f"http://127.0.0.1:{port}/health/ready").json()
            except httpx.TransportError:
                return False
            return bool(found["checks"]["workers"]["count"] == 1)

        wait_until(ready, 600, "API and worker are up")
    assert no_file_ran(folder)
