"""Compose files read as Compose reads them, and their services as processes of this machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml
from sqlalchemy import create_engine, make_url, text

from tests.acceptance.photos import good_zip, photo
from tests.services import clean_environment, free_port, redis_server_path, wait_until

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
#: An innermost one: others may be nested in the default of one.
VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^${}]*))?\}")


class ComposeLoader(yaml.SafeLoader):
    """Knows compose's `!reset`."""


RESET = object()
ComposeLoader.add_constructor("!reset", lambda _loader, _node: RESET)


class Unset(Exception):
    """A variable that compose refuses to go without."""


def load(name: str) -> dict[str, Any]:
    loaded = yaml.load((ROOT / name).read_text(), ComposeLoader)
    assert isinstance(loaded, dict)
    return loaded


def merged(base: Any, over: Any) -> Any:
    """As compose merges: mappings key by key, lists one after the other, `!reset` removes."""
    if isinstance(base, dict) and isinstance(over, dict):
        both = base | {key: merged(base.get(key), value) for key, value in over.items()}
        return {key: value for key, value in both.items() if value is not RESET}
    if isinstance(base, list) and isinstance(over, list):
        return base + over
    return over


def interpolated(node: Any, variables: Mapping[str, str]) -> Any:
    """As compose fills in `${NAME}`, `${NAME:-default}` and `${NAME:?message}`."""
    if isinstance(node, dict):
        return {key: interpolated(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolated(value, variables) for value in node]
    if not isinstance(node, str):
        return node

    def value(match: re.Match[str]) -> str:
        found = variables.get(match[1], "")
        if match[2] == ":?" and not found:
            raise Unset(f"{match[1]}: {match[3]}")
        return found or (match[3] if match[2] == ":-" else "")

    parts = node.split("$$")
    while any(VARIABLE.search(part) for part in parts):
        parts = [VARIABLE.sub(value, part) for part in parts]
    return "$".join(parts)


class Native:
    """The services of one compose file as processes of this machine."""

    def __init__(self, compose: dict[str, Any], folder: Path, postgres: str) -> None:
        password = uuid.uuid4().hex
        passwords = {
            "POSTGRES_PASSWORD": password,
            "POSTGRES_SERVICE_PASSWORD": uuid.uuid4().hex,
            "REDIS_PASSWORD": uuid.uuid4().hex,
        }
        self.services = interpolated(compose, passwords)["services"]
        self._redis_password = passwords["REDIS_PASSWORD"]
        self.folder = folder
        self._port = str(free_port())
        self.worker_metrics_port = str(free_port())
        self._postgres, self._redis_port = make_url(postgres), free_port()
        self._password = password
        self.url = f"http://127.0.0.1:{self._port}"

    @contextmanager
    def redis(self) -> Iterator[None]:
        """The broker by its own command, on the port of the test."""
        service, folder = self.services["redis"], self.folder / "redis"
        folder.mkdir()
        tools = self.folder / "bin"
        tools.mkdir()
        (tools / "redis-server").symlink_to(redis_server_path())
        shell, flag, script = service["command"]
        place = f"exec redis-server - --port {self._redis_port} --bind 127.0.0.1 "
        script = script.replace("exec redis-server - ", place)
        environment = {"PATH": f"{tools}:{os.environ['PATH']}", **service["environment"]}
        with subprocess.Popen([shell, flag, script], env=environment, cwd=folder) as process:
            try:
                wait_until(lambda: _accepts(self._redis_port), 120, "redis")
                # By its URL: other clients retry for seconds.
                intruder = redis.Redis.from_url(f"redis://127.0.0.1:{self._redis_port}")
                with intruder, pytest.raises(redis.AuthenticationError):
                    intruder.ping()
                yield
            finally:
                process.terminate()
                assert process.wait(120) == 0

    def create_role(self) -> None:
        """What the postgres image does at its first start with the service's environment."""
        given = self.services["postgres"]["environment"]
        url = self._postgres.set(drivername="postgresql+psycopg")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(
                text(
                    f"CREATE ROLE {given['POSTGRES_USER']} LOGIN SUPERUSER "
                    f"PASSWORD '{self._password}'"
                )
            )
        engine.dispose()

    def drop_roles(self) -> None:
        owner = self.services["postgres"]["environment"]["POSTGRES_USER"]
        service = make_url(self.services["api"]["environment"]["DSPT_DATABASE_URL"]).username
        url = self._postgres.set(drivername="postgresql+psycopg")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for role in (service, owner):
                connection.execute(text(f"DROP OWNED BY {role}"))
                connection.execute(text(f"DROP ROLE {role}"))
        engine.dispose()

    def translated(self, name: str) -> dict[str, str]:
        """The service's own environment, with the addresses of the test's servers."""
        given = dict(self.services[name]["environment"])
        given["DSPT_DATABASE_URL"] = self._database(given["DSPT_DATABASE_URL"])
        if name == "migrate":
            given["DSPT_OWNER_DATABASE_URL"] = self._database(given["DSPT_OWNER_DATABASE_URL"])
            return given | {"DSPT_DATA_DIR": "/var/lib/dspt"}  # the image sets it
        inside = f"redis://:{self._redis_password}@redis:6379/0"
        assert given["DSPT_BROKER_URL"] == inside
        given["DSPT_BROKER_URL"] = inside.replace("redis:6379", f"127.0.0.1:{self._redis_port}")
        if name == "api":
            assert given["DSPT_HOST"] == "0.0.0.0"
            given["DSPT_PORT"] = self._port
        else:
            assert given["DSPT_WORKER_METRICS_HOST"] == "0.0.0.0"
            assert given["DSPT_WORKER_METRICS_PORT"] == "9101"
            given["DSPT_WORKER_METRICS_PORT"] = self.worker_metrics_port
        # To compile an image tower takes seconds.
        return given | {"HF_HUB_OFFLINE": "1", "DSPT_PREDICT_ENGINE": "torch"}

    def environment(self, name: str) -> dict[str, str]:
        """The same for a process of this machine."""
        state = str(self.folder)
        given = {k: v.replace("/var/lib/dspt", state) for k, v in self.translated(name).items()}
        return clean_environment(**given, PATH=f"{BIN}:{ROOT / 'docker'}:{os.environ['PATH']}")

    def _database(self, url: str) -> str:
        """The same user, password and way in, at the address of the test's server."""
        inside = make_url(url)
        assert (inside.host, inside.port, inside.database) == ("postgres", 5432, "dspt")
        outside = self._postgres.set(username=inside.username, password=inside.password)
        return outside.render_as_string(hide_password=False)

    def command(self, name: str, command: Sequence[str]) -> list[str]:
        """What runs `command` as the service `name` would."""
        del name  # every service is a process of this machine
        return list(command)

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """As `docker compose run NAME COMMAND` does it; without a command, the service's own."""
        return subprocess.run(
            self.command(name, command or self.services[name]["command"]),
            env=self.environment(name),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    @contextmanager
    def running(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        log_path = self.folder / f"{name}.log"
        with (
            log_path.open("wb") as log,
            subprocess.Popen(
                self.command(name, self.services[name]["command"]),
                env=self.environment(name),
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                wait_until(lambda: self._listens(name, process), 300, f"{name}: {log_path}")
                # Each health check is a process of its own, as in a container.
                wait_until(lambda: self._healthy(name, process), 300, f"{name}: {log_path}", 1)
                yield process
            finally:
                process.terminate()
                process.wait(120)

    def _listens(self, name: str, process: subprocess.Popen[bytes]) -> bool:
        """Whether the service accepts connections, which costs less than its health check."""
        assert process.poll() is None, (self.folder / f"{name}.log").read_text()
        port = self._port if name == "api" else self.worker_metrics_port
        return _accepts(int(port))

    def _healthy(self, name: str, process: subprocess.Popen[bytes]) -> bool:
        """Run the service's own health check."""
        assert process.poll() is None, (self.folder / f"{name}.log").read_text()
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        check = subprocess.run(
            self.command(name, command),
            env=self.environment(name),
            capture_output=True,
            timeout=600,
            check=False,
        )
        return check.returncode == 0


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main_job(native: Native) -> None:
    """Create a key, run a job to its end, predict with its model, and stop in order."""
    folder = native.folder
    with ExitStack() as stack:
        native.create_role()
        stack.callback(native.drop_roles)
        stack.enter_context(native.redis())
        migrated = native.run("migrate")
        assert migrated.returncode == 0, migrated.stderr
        refused = native.run("api")
        assert refused.returncode == 1
        assert "dspt keys create" in refused.stderr
        made = native.run("api", "dspt", "keys", "create", "test")
        assert made.returncode == 0, made.stderr
        api = stack.enter_context(native.running("api"))
        worker = stack.enter_context(native.running("worker"))
        assert httpx.get(f"{native.url}/jobs").status_code == 401
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        with httpx.Client(base_url=native.url, timeout=600, headers=headers) as client:
            model_id = _tune(client)
            answer = client.post(
                "/predict", data={"model": model_id}, files={"images": photo("lime", 999)}
            ).json()
            assert answer["model"] == model_id
            assert 0 < answer["predictions"][0]["score"] <= 1
        figures = f"http://127.0.0.1:{native.worker_metrics_port}/metrics"
        one = 'dspt_worker_jobs_total{outcome="succeeded"} 1.0'
        wait_until(lambda: one in httpx.get(figures).text, 120, "the worker's figures")
        stack.pop_all().close()
    assert api.returncode in (0, -signal.SIGTERM)  # uvicorn ends in order, then by the signal
    assert worker.returncode == 0
    assert "Application shutdown complete" in (folder / "api.log").read_text()


def _tune(client: httpx.Client) -> str:
    response = client.post(
        "/jobs", files={"dataset": ("photos.zip", good_zip())}, data={"config": '{"epochs": 2}'}
    )
    assert response.status_code == 202, response.text
    place, end = response.headers["location"], time.monotonic() + 600
    job = client.get(place).json()
    while job["status"] not in ("succeeded", "failed"):
        assert time.monotonic() < end, job
        time.sleep(0.2)  # between two looks at the job
        job = client.get(place).json()
    assert job["status"] == "succeeded", job["error"]
    model_id: str = job["model_id"]
    return model_id
