"""`dspt api --workers N`: several processes on one port, up together or gone together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import MigratedDatabase
from tests.integration.databases import on_postgres
from tests.services import RedisServer, children_of, clean_environment, free_port, wait_until
from tests.warm import Warm

pytestmark = [
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes through /proc"),
    on_postgres,
]

KEY = "a-key-that-is-long-enough-for-an-admin"
LIMIT = 20
_REQUESTS = re.compile(r'^dspt_http_requests_total\{.*route="/jobs".*\} (\S+)$', re.MULTILINE)


class Api:
    """Two processes; all that belong to them carry a mark in their environment."""

    def __init__(self, database_url: str, redis: RedisServer, folder: Path) -> None:
        self._mark = f"DSPT_TEST_MARK={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        self.port, self.log, self.temporary = free_port(), folder / "log", folder / "tmp"
        self.temporary.mkdir()
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {KEY}", "Connection": "close"},
            timeout=60,
        )
        environment = clean_environment(
            **{name: value},
            DSPT_DATABASE_URL=database_url,
            DSPT_BROKER_URL=redis.emptied(),
            DSPT_DATA_DIR=str(folder / "data"),
            DSPT_BOOTSTRAP_KEY=KEY,
            DSPT_REQUESTS_PER_MINUTE=str(LIMIT),
            TMPDIR=str(self.temporary),
        )
        command = [sys.executable, "-m", "app.cli", "api", "--workers", "2"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port)], env=environment, stdout=log, stderr=log
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def sockets(self) -> list[Path]:
        return sorted(self.temporary.glob("dspt-api-*/*.sock"))

    def up(self) -> bool:
        assert self.process.poll() is None, self.said
        return len(self.sockets) == 2 and self.get("/health/ready") == 200

    def get(self, path: str) -> int | None:
        """Status, over a connection of its own; None if none is accepted."""
        try:
            return self.client.get(path).status_code
        except httpx.TransportError:
            return None

    def apis(self) -> list[int]:
        """Ids of the two processes."""
        commands = {pid: _read(pid, "cmdline") for pid in children_of(self.process.pid)}
        return [pid for pid, command in commands.items() if b"--socket-fd" in command]

    def processes(self) -> list[int]:
        """Ids of all that have not ended, wherever they are."""
        ids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
        return [pid for pid in ids if self._mark.encode() in _read(pid, "environ")]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended
        return b""


@contextmanager
def running(migrated: MigratedDatabase, redis: RedisServer, folder: Path) -> Iterator[Api]:
    with migrated(folder) as url:
        api = Api(url, redis, folder)
        try:
            wait_until(api.up, 240, "dspt api --workers 2")
            yield api
        finally:
            if api.process.poll() is None:
                api.process.terminate()
            api.process.wait(120)
            wait_until(lambda: not api.processes(), 120, "the end of all processes")
            api.client.close()


def test_two_processes_are_one_api(
    migrated: MigratedDatabase, redis: RedisServer, tmp_path: Path
) -> None:
    with running(migrated, redis, tmp_path) as api:
        assert len(api.apis()) == 2
        start = time.monotonic()
        # Both stopped in turn: the other one answers on the same port.
        for stopped in api.apis():
            os.kill(stopped, signal.SIGSTOP)
            try:
                assert {api.get("/jobs") for _ in range(3)} == {200}
            finally:
                os.kill(stopped, signal.SIGCONT)
        # The same sums in each answer, whichever process it is of.
        for _ in range(4):
            wait_until(lambda: api.get("/metrics") == 200, 120, "all processes to answer")
            text = api.client.get("/metrics").text
            assert sum(map(float, _REQUESTS.findall(text))) == 6
            assert text.count("\nprocess_resident_memory_bytes ") == 1
            assert "\ndspt_jobs{" in text  # only the leader has them
        # One limit for both.
        statuses = [200] * 6

        def limited() -> bool:
            statuses.append(api.get("/jobs") or 0)
            return statuses[-1] == 429

        wait_until(limited, 300, "the limit")
        minutes = (time.monotonic() - start) / 60
        assert set(statuses) == {200, 429}
        assert statuses.count(200) <= LIMIT * (1 + minutes) + 1
        api.process.send_signal(signal.SIGINT)
        assert api.process.wait(120) == 0, api.said
        assert not api.processes()
        assert list(api.temporary.iterdir()) == []
        assert "Traceback" not in api.said


@pytest.mark.deep  # the supervisor's tests have it, as the next
def test_a_killed_process_ends_the_other(
    migrated: MigratedDatabase, redis: RedisServer, tmp_path: Path
) -> None:
    with running(migrated, redis, tmp_path) as api:
        os.kill(api.apis()[0], signal.SIGKILL)
        assert api.process.wait(120) == 1
        assert "died (killed by signal 9)" in api.said
        assert not api.processes()


@pytest.mark.deep
def test_nothing_outlives_a_killed_supervisor(
    migrated: MigratedDatabase, redis: RedisServer, tmp_path: Path
) -> None:
    with running(migrated, redis, tmp_path) as api:
        api.process.kill()
        wait_until(lambda: not api.processes(), 120, "the end of all processes")
        assert api.get("/health/live") is None


@pytest.mark.parametrize("missing", ["DSPT_DATABASE_URL", "DSPT_BROKER_URL"])
def test_what_several_processes_need(
    migrated: MigratedDatabase, warm_start: Warm, tmp_path: Path, missing: str
) -> None:
    with migrated(tmp_path / "database") as url:
        given = {"DSPT_DATABASE_URL": url, "DSPT_BROKER_URL": "redis://127.0.0.1:1/0"}
        del given[missing]
        environment = clean_environment(
            **given, DSPT_API_WORKERS="2", DSPT_DATA_DIR=str(tmp_path / "data")
        )
        result = warm_start.run(["api"], environment, tmp_path / "log")
    assert result.returncode == 1
    assert missing in result.stderr
    assert not (tmp_path / "data").exists()
