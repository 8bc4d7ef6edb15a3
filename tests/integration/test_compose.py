"""The compose files: valid, without secrets, and their commands run as they stand.

There may be no Docker engine where the tests run. So each service's own command, environment and
health check are taken from docker-compose.yml and run natively against a real PostgreSQL and Redis.
All that is translated is what a container would bring: host names, the API's port, the folder. The
API binds to 0.0.0.0 as it does there, so it needs a key here too.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.kit.settings import Settings
from tests.compose import ROOT, Native, Unset, interpolated, load, main_job, merged
from tests.services import postgres_database

OWN = ("api", "worker")
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
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert "deploy" not in CPU["services"]["worker"]
    with_gpu, without = deepcopy(GPU), deepcopy(CPU)
    # Nothing else differs: what is tested below on the one holds for the other.
    assert without["services"]["worker"]["environment"].pop("CUDA_VISIBLE_DEVICES") == ""
    del with_gpu["services"]["worker"]["deploy"]
    assert with_gpu == without


@BOTH
def test_every_service_has_a_health_check_and_none_runs_as_root(compose: dict[str, Any]) -> None:
    always = {name for name, s in compose["services"].items() if "profiles" not in s}
    assert always == {"api", "worker", "migrate", "redis", "postgres"}
    assert set(compose["services"]) - always == {"prometheus", "grafana"}
    for name, service in compose["services"].items():
        if name == "migrate":  # it runs once, before the others
            assert service["restart"] == "no"
        else:
            assert service["healthcheck"]["test"][0] == "CMD", name
            assert service["restart"] == "unless-stopped", name
        user = service["user"].split(":")[0]
        assert user not in ("root", "0"), name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["pids_limit"] > 0, name
        assert re.fullmatch(r"\d+[gm]", interpolated(service["mem_limit"], {})), name
    for name in always:
        assert compose["services"][name]["read_only"] is True, name
    for name in OWN:
        assert compose["services"][name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "postgres": {"condition": "service_healthy"},
            "redis": {"condition": "service_healthy"},
        }


@BOTH
def test_only_the_api_and_the_dashboards_are_published(compose: dict[str, Any]) -> None:
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
        for volume in service.get("volumes", ()):
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


def test_the_api_gets_the_time_that_its_stop_takes() -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DSPT_STOP_DELAY_SECONDS", "DSPT_STOP_TIMEOUT_SECONDS"):
            patch.delenv(name, raising=False)
        assert GPU["services"]["api"]["stop_grace_period"] == f"{Settings().stop_seconds:g}s"


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
    everywhere = {"DSPT_DATA_DIR", "DSPT_MIGRATE_AT_START", "DSPT_OWNER_DATABASE_URL"}
    decided = {
        "api": {*everywhere, "DSPT_HOST", "DSPT_PORT"},
        "worker": {
            *everywhere,
            "DSPT_BOOTSTRAP_KEY",
            "DSPT_WORKER_METRICS_HOST",
            "DSPT_WORKER_METRICS_PORT",
        },
    }
    required = {"POSTGRES_SERVICE_PASSWORD": "s", "REDIS_PASSWORD": "r"}
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
    passwords = ("POSTGRES_PASSWORD", "POSTGRES_SERVICE_PASSWORD", "REDIS_PASSWORD")
    for secret in (*passwords, "DSPT_METRICS_KEY", "DSPT_OWNER_DATABASE_URL"):
        assert given[secret] == ""
    assert "dspt_service:" in given["DSPT_DATABASE_URL"]


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


@pytest.mark.parametrize(
    ("missing", "services"),
    [
        ("POSTGRES_PASSWORD", ["migrate", "postgres"]),
        ("POSTGRES_SERVICE_PASSWORD", ["migrate", *OWN]),
        ("REDIS_PASSWORD", [*OWN, "redis"]),
    ],
)
def test_without_a_password_nothing_starts(missing: str, services: list[str]) -> None:
    given = {"POSTGRES_PASSWORD": "p", "POSTGRES_SERVICE_PASSWORD": "s", "REDIS_PASSWORD": "r"}
    given[missing] = ""
    for name in services:  # each by itself
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
    # `env_file` passes all of it on: these are the storage library's.
    assert set(example) <= used | settings | {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    passwords = ("POSTGRES_PASSWORD", "POSTGRES_SERVICE_PASSWORD", "REDIS_PASSWORD")
    assert [example[name] for name in passwords] == [""] * 3
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


@pytest.mark.slow
def test_the_services_as_they_stand_do_the_main_job(tmp_path: Path, postgres_url: str) -> None:
    compose = CPU  # the same commands as with a GPU, see above
    with postgres_database(postgres_url) as database:
        native = Native(compose, tmp_path, database)
        (tmp_path / "tmp").mkdir()  # the image has it
        main_job(native)
    assert (tmp_path / "storage" / "models").is_dir()
