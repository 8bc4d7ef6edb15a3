"""The compose files: valid, without secrets, and their commands run as they stand.

There may be no Docker engine where the tests run. So each service's own command, environment and
health check are taken from docker-compose.yml and run natively against a real PostgreSQL and Redis.
All that is translated is what a container would bring: host names, the API's port, the folder. The
API binds to 0.0.0.0 as it does there, so it needs a key here too.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml
from sqlalchemy import create_engine, make_url, text

from tests.acceptance.photos import good_zip, photo
from tests.services import (
    clean_environment,
    free_port,
    postgres_database,
    redis_server_path,
    wait_until,
)

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
OWN = ("api", "worker")
#: An innermost one: others may be nested in the default of one.
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^${}]*))?\}")


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
    while any(_VARIABLE.search(part) for part in parts):
        parts = [_VARIABLE.sub(value, part) for part in parts]
    return "$".join(parts)


GPU = load("docker-compose.yml")
CPU = merged(GPU, load("docker-compose.cpu.yml"))
BOTH = pytest.mark.parametrize("compose", [GPU, CPU], ids=["gpu", "cpu"])


@BOTH
def test_the_schema_holds(compose: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "docker-compose.yml"
    file.write_text(yaml.safe_dump(compose))
    command = [sys.executable, "-m", "check_jsonschema"]
    command += ["--builtin-schema", "vendor.compose-spec", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_gpu_is_the_workers_and_the_override_takes_it_back() -> None:
    [device] = GPU["services"]["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert "deploy" not in CPU["services"]["worker"]
    with_gpu, without = deepcopy(GPU), deepcopy(CPU)
    # Nothing else differs: what is tested below on the one holds for the other.
    assert without["services"]["worker"]["environment"].pop("CUDA_VISIBLE_DEVICES") == ""
    del with_gpu["services"]["worker"]["deploy"]
    assert with_gpu == without


@BOTH
def test_every_service_is_watched_and_none_is_root(compose: dict[str, Any]) -> None:
    always = {name for name, s in compose["services"].items() if "profiles" not in s}
    assert always == {"api", "worker", "redis", "postgres"}
    assert set(compose["services"]) - always == {"prometheus", "grafana"}
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name
        user = service["user"].split(":")[0]
        assert user not in ("root", "0"), name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["pids_limit"] > 0, name
        assert re.fullmatch(r"\d+[gm]", interpolated(service["mem_limit"], {})), name
    for name in ("api", "worker", "redis", "postgres"):
        assert compose["services"][name]["read_only"] is True, name
    for name in OWN:
        assert compose["services"][name]["depends_on"] == {
            "postgres": {"condition": "service_healthy"},
            "redis": {"condition": "service_healthy"},
        }


@BOTH
def test_what_is_published_is_so_only_here(compose: dict[str, Any]) -> None:
    published = {name: s["ports"] for name, s in compose["services"].items() if "ports" in s}
    assert interpolated(published, {}) == {
        "api": ["127.0.0.1:8000:8000"],
        "grafana": ["127.0.0.1:3000:3000"],
    }
    assert compose["networks"]["backend"] == {"internal": True}
    for name in ("redis", "postgres", "prometheus"):
        assert compose["services"][name]["networks"] == ["backend"]


@BOTH
def test_volumes_are_declared_and_the_state_is_on_one(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source, _, *options = volume.split(":")
            if source.startswith("./"):
                assert (ROOT / source).is_dir()
                assert options == ["ro"]
            else:
                assert source in compose["volumes"]
    assert "postgres:/var/lib/postgresql/data" in compose["services"]["postgres"]["volumes"]
    assert "redis:/data" in compose["services"]["redis"]["volumes"]
    assert "--appendonly yes" in compose["services"]["redis"]["command"][-1]
    for name in OWN:
        assert "storage:/var/lib/dspt/storage" in compose["services"][name]["volumes"]


def images() -> list[str]:
    """Images that come from a registry."""
    found = [s["image"] for s in GPU["services"].values() if "build" not in s]
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)", dockerfile, re.M)
    return found + [i for i in re.findall(r"^FROM (\S+)", dockerfile, re.M) if i not in stages]


def test_images_have_a_version() -> None:
    pinned = re.compile(r"[a-z0-9./-]+:v?\d+[a-z0-9.-]*(@sha256:[0-9a-f]{64})?")
    assert len(images()) >= 5
    for image in images():
        assert pinned.fullmatch(image), image


def test_image_digests_pins_every_image_and_follows_the_registry(tmp_path: Path) -> None:
    """A `docker` that answers as the registry would stands in for it."""
    (tmp_path / "docker").mkdir()
    files = ("docker-compose.yml", "docker/Dockerfile")
    for name in files:
        (tmp_path / name).write_text((ROOT / name).read_text())
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "docker").write_text(
        '#!/bin/sh\nprintf "$4 $SALT" | sha256sum | cut -c1-64 | sed s/^/sha256:/\n'
    )
    (tools / "docker").chmod(0o755)

    def pin(salt: str) -> str:
        subprocess.run(
            [sys.executable, str(ROOT / "docker" / "digests.py"), *files],
            cwd=tmp_path,
            env={"PATH": f"{tools}:{os.environ['PATH']}", "SALT": salt},
            check=True,
        )
        return "".join((tmp_path / name).read_text() for name in files)

    first = pin("1")
    for image in images():
        name = image.split("@")[0]
        assert re.search(rf"{re.escape(name)}@sha256:[0-9a-f]{{64}}\b(?!@)", first), image
        assert not re.search(rf"{re.escape(name)}(?!@)", first)
    assert "dspt-api:0.1.0@" not in first
    assert pin("1") == first
    assert pin("2") != first
    assert re.sub(r"@sha256:\w+", "", first) == re.sub(
        r"@sha256:\w+", "", "".join((ROOT / name).read_text() for name in files)
    )


@BOTH
def test_every_setting_reaches_the_service(compose: dict[str, Any]) -> None:
    """A variable in .env gets its value into the container, unless the container decides it."""
    reference = (ROOT / "docs" / "reference" / "settings.md").read_text()
    settings = re.findall(r"^\| `(DSPT_\w+)` \|", reference, re.M)
    assert len(settings) > 40
    decided = {
        "api": {"DSPT_DATA_DIR", "DSPT_HOST", "DSPT_PORT"},
        "worker": {"DSPT_DATA_DIR", "DSPT_WORKER_METRICS_HOST", "DSPT_WORKER_METRICS_PORT"},
    }
    required = {"POSTGRES_PASSWORD": "p", "REDIS_PASSWORD": "r"}
    for name in OWN:
        service = compose["services"][name]
        assert service["env_file"] == [{"path": ".env", "required": False}]
        kept = set()
        for setting in settings:
            given = interpolated(service["environment"], required | {setting: "a value"})
            if given.get(setting, "a value") != "a value":
                kept.add(setting)
        assert kept == decided[name]


@pytest.mark.parametrize("name", OWN)
def test_no_service_gets_a_password_that_it_does_not_need(name: str) -> None:
    given = GPU["services"][name]["environment"]
    secrets = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "DSPT_METRICS_KEY")
    assert [given[secret] for secret in secrets] == ["", "", ""]


@pytest.mark.parametrize("name", OWN)
def test_the_images_are_built_with_our_versions_and_run_as_the_service_says(name: str) -> None:
    service = GPU["services"][name]
    dockerfile = (ROOT / service["build"]["dockerfile"]).read_text()
    target = dockerfile.split(f" AS {service['build']['target']}\n")[1].split("\nFROM ")[0]
    assert f"CMD {service['command']}".replace("'", '"') in target
    assert f"USER {service['user']}" in dockerfile
    assert "-c constraints.txt" in dockerfile
    assert not re.search(r"^(ARG|ENV)\s.*(PASSWORD|TOKEN|SECRET)", dockerfile, re.M | re.I)


def test_what_the_images_are_built_from_is_let_through() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert ignore[ignore.index("*") :][0] == "*"
    for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.M):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
            assert f"!{source}" in ignore


@pytest.mark.parametrize("missing", ["POSTGRES_PASSWORD", "REDIS_PASSWORD"])
def test_without_a_password_nothing_starts(missing: str) -> None:
    given = {"POSTGRES_PASSWORD": "p", "REDIS_PASSWORD": "r", missing: ""}
    server = {"POSTGRES_PASSWORD": "postgres", "REDIS_PASSWORD": "redis"}[missing]
    for name in ("api", "worker", server):  # each by itself
        with pytest.raises(Unset, match=f"{missing}: set it in .env, see .env.example"):
            interpolated(GPU["services"][name]["environment"], given)


def test_the_example_names_every_variable_and_holds_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(
        line.lstrip("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_]+=", line)
    )
    files = "".join(
        (ROOT / f).read_text() for f in ("docker-compose.yml", "docker-compose.cpu.yml")
    )
    used = {secret["environment"] for secret in GPU["secrets"].values()}
    used |= {m[1] for m in re.finditer(r"(?<!\$)\$\{(\w+)", files)}
    reference = (ROOT / "docs" / "reference" / "settings.md").read_text()
    settings = set(re.findall(r"^\| `(DSPT_\w+)` \|", reference, re.M))
    assert used - set(example) <= settings
    assert set(example) <= used | settings
    assert example["POSTGRES_PASSWORD"] == example["REDIS_PASSWORD"] == ""
    with pytest.raises(Unset):  # copied as it is, it starts nothing
        interpolated(GPU, example)


def test_the_dependencies_of_the_image_are_the_projects() -> None:
    command = [sys.executable, str(ROOT / "docker" / "dependencies.py")]
    result = subprocess.run(
        [*command, str(ROOT / "pyproject.toml"), "server", "otel"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {re.split(r"[\[<>=]", line)[0] for line in result.stdout.split()}
    assert {
        "torch",
        "open_clip_torch",
        "fastapi",
        "celery",
        "psycopg",
        "redis",
        "opentelemetry-sdk",
    } <= names
    assert "pytest" not in names


class Native:
    """The services of one compose file as processes of this machine."""

    def __init__(self, compose: dict[str, Any], folder: Path, postgres: str, redis: str) -> None:
        password = uuid.uuid4().hex
        passwords = {"POSTGRES_PASSWORD": password, "REDIS_PASSWORD": uuid.uuid4().hex}
        self.services = interpolated(compose, passwords)["services"]
        self._redis_password = passwords["REDIS_PASSWORD"]
        self._folder = folder
        self._port = str(free_port())
        self.worker_metrics_port = str(free_port())
        self._postgres, self._redis, self.redis_url = make_url(postgres), make_url(redis), redis
        self._password = password
        self.url = f"http://127.0.0.1:{self._port}"

    @contextmanager
    def redis(self) -> Iterator[None]:
        """The broker by its own command, on the port of the test."""
        service, folder = self.services["redis"], self._folder / "redis"
        folder.mkdir()
        tools = self._folder / "bin"
        tools.mkdir()
        (tools / "redis-server").symlink_to(redis_server_path())
        shell, flag, script = service["command"]
        place = f"exec redis-server - --port {self._redis.port} --bind 127.0.0.1 "
        script = script.replace("exec redis-server - ", place)
        environment = {"PATH": f"{tools}:{os.environ['PATH']}", **service["environment"]}
        with subprocess.Popen([shell, flag, script], env=environment, cwd=folder) as process:
            try:
                port = self._redis.port
                assert port is not None
                wait_until(lambda: _accepts(port), 120, "redis")
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
                text(f"CREATE ROLE {given['POSTGRES_USER']} LOGIN PASSWORD '{self._password}'")
            )
            connection.execute(text(f"GRANT ALL ON SCHEMA public TO {given['POSTGRES_USER']}"))
        engine.dispose()

    def drop_role(self) -> None:
        user = self.services["postgres"]["environment"]["POSTGRES_USER"]
        url = self._postgres.set(drivername="postgresql+psycopg")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"DROP OWNED BY {user}"))
            connection.execute(text(f"DROP ROLE {user}"))
        engine.dispose()

    def environment(self, name: str) -> dict[str, str]:
        given = dict(self.services[name]["environment"])
        given["DSPT_DATABASE_URL"] = self._database(given["DSPT_DATABASE_URL"])
        inside = f"redis://:{self._redis_password}@redis:6379/0"
        assert given["DSPT_BROKER_URL"] == inside
        outside = f"{self._redis.host}:{self._redis.port}"
        given["DSPT_BROKER_URL"] = inside.replace("redis:6379", outside)
        if name == "api":
            assert given["DSPT_HOST"] == "0.0.0.0"
            given["DSPT_PORT"] = self._port
        else:
            assert given["DSPT_WORKER_METRICS_HOST"] == "0.0.0.0"
            assert given["DSPT_WORKER_METRICS_PORT"] == "9101"
            given["DSPT_WORKER_METRICS_PORT"] = self.worker_metrics_port
        state = str(self._folder)
        given = {key: value.replace("/var/lib/dspt", state) for key, value in given.items()}
        path = f"{BIN}:{ROOT / 'docker'}:{os.environ['PATH']}"
        return clean_environment(
            **given,
            PATH=path,
            HF_HUB_OFFLINE="1",
            DSPT_PREDICT_ENGINE="torch",  # to compile an image tower takes seconds
        )

    def _database(self, url: str) -> str:
        """The same user, password and way in, at the address of the test's server."""
        inside = make_url(url)
        assert (inside.host, inside.port, inside.database) == ("postgres", 5432, "dspt")
        outside = self._postgres.set(username=inside.username, password=inside.password)
        return outside.render_as_string(hide_password=False)

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """As `docker compose run NAME COMMAND` does it; without a command, the service's own."""
        return subprocess.run(
            command or self.services[name]["command"],
            env=self.environment(name),
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    @contextmanager
    def running(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        log_path = self._folder / f"{name}.log"
        with (
            log_path.open("wb") as log,
            subprocess.Popen(
                self.services[name]["command"],
                env=self.environment(name),
                cwd=self._folder,
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
        assert process.poll() is None, (self._folder / f"{name}.log").read_text()
        port = self._port if name == "api" else self.worker_metrics_port
        return _accepts(int(port))

    def _healthy(self, name: str, process: subprocess.Popen[bytes]) -> bool:
        """Run the service's own health check."""
        assert process.poll() is None, (self._folder / f"{name}.log").read_text()
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        check = subprocess.run(
            command, env=self.environment(name), capture_output=True, timeout=600, check=False
        )
        return check.returncode == 0


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_the_services_as_they_stand_do_the_main_job(tmp_path: Path, postgres_url: str) -> None:
    compose = CPU  # the same commands as with a GPU, see above
    with postgres_database(postgres_url) as database, ExitStack() as stack:
        native = Native(compose, tmp_path, database, f"redis://127.0.0.1:{free_port()}/0")
        (tmp_path / "tmp").mkdir()  # the image has it
        native.create_role()
        stack.callback(native.drop_role)
        stack.enter_context(native.redis())
        with redis.Redis.from_url(native.redis_url) as stranger, pytest.raises(redis.RedisError):
            stranger.ping()  # without the password
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
        assert (tmp_path / "storage" / "models").is_dir()
        stack.pop_all().close()
    assert api.returncode in (0, -signal.SIGTERM)  # uvicorn ends in order, then by the signal
    assert worker.returncode == 0
    assert "Application shutdown complete" in (tmp_path / "api.log").read_text()


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
