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
import yaml
from sqlalchemy import create_engine, make_url, text

from tests.acceptance.photos import good_zip, photo
from tests.services import RedisServer, clean_environment, free_port, postgres_database, wait_until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
OWN = ("api", "worker")
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}|\$\$")


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
        if match[0] == "$$":
            return "$"
        found = variables.get(match[1], "")
        if match[2] == ":?" and not found:
            raise Unset(f"{match[1]}: {match[3]}")
        return found or (match[3] if match[2] == ":-" else "")

    return _VARIABLE.sub(value, node)


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
    command = compose["services"]["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    for name in OWN:
        assert "storage:/var/lib/dspt/storage" in compose["services"][name]["volumes"]


def test_images_are_pinned() -> None:
    pinned = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+\.?\d*[a-z0-9.-]*(@sha256:[0-9a-f]{64})?")
    images = [service["image"] for service in GPU["services"].values()]
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)", dockerfile, re.M)
    images += [i for i in re.findall(r"^FROM (\S+)", dockerfile, re.M) if i not in stages]
    assert len(images) >= 5
    for image in images:
        assert pinned.fullmatch(image), image


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


def test_without_a_password_nothing_starts() -> None:
    with pytest.raises(Unset, match=r"POSTGRES_PASSWORD: set it in \.env, see \.env\.example"):
        interpolated(GPU, {})
    for name in ("api", "worker", "postgres"):  # each by itself
        with pytest.raises(Unset, match="POSTGRES_PASSWORD"):
            interpolated(GPU["services"][name]["environment"], {"POSTGRES_PASSWORD": ""})


def test_the_example_names_every_variable_and_holds_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    settings = dict(
        line.lstrip("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_]+=", line)
    )
    files = "".join(
        (ROOT / f).read_text() for f in ("docker-compose.yml", "docker-compose.cpu.yml")
    )
    secrets = {secret["environment"] for secret in GPU["secrets"].values()}
    assert set(settings) == secrets | {m[1] for m in _VARIABLE.finditer(files) if m[1]}
    assert settings["POSTGRES_PASSWORD"] == ""
    with pytest.raises(Unset):  # copied as it is, it starts nothing
        interpolated(GPU, settings)


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
        self.services = interpolated(compose, {"POSTGRES_PASSWORD": password})["services"]
        self._folder = folder
        self._port = str(free_port())
        self.worker_metrics_port = str(free_port())
        self._postgres, self._redis = make_url(postgres), make_url(redis)
        self._password = password
        self.url = f"http://127.0.0.1:{self._port}"

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
        assert given["DSPT_BROKER_URL"].count("redis:6379") == 1
        given["DSPT_BROKER_URL"] = given["DSPT_BROKER_URL"].replace(
            "redis:6379", f"{self._redis.host}:{self._redis.port}"
        )
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
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(port))) == 0

    def _healthy(self, name: str, process: subprocess.Popen[bytes]) -> bool:
        """Run the service's own health check."""
        assert process.poll() is None, (self._folder / f"{name}.log").read_text()
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        check = subprocess.run(
            command, env=self.environment(name), capture_output=True, timeout=600, check=False
        )
        return check.returncode == 0


@pytest.mark.slow
def test_the_services_as_they_stand_do_the_main_job(
    tmp_path: Path, postgres_url: str, redis: RedisServer
) -> None:
    compose = CPU  # the same commands as with a GPU, see above
    with postgres_database(postgres_url) as database, ExitStack() as stack:
        native = Native(compose, tmp_path, database, redis.url)
        native.create_role()
        stack.callback(native.drop_role)
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
