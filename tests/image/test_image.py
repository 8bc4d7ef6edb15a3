"""The images: built by docker/Dockerfile's own instructions, and run as docker-compose.yml says.

`make test-image` runs this; it takes minutes and downloads torch. What only a container engine can
show remains unproven: that the official Python image behaves like Debian's Python, that the engine
accepts both files, and that the service works with the engine's network, limits and seccomp.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.compose import ROOT, Native, load, main_job, merged
from tests.image.dockerfile import Image, build, contained
from tests.services import free_port, postgres_database, restartable_postgres

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("DSPT_TEST_IMAGE") != "1", reason="builds the images: make test-image"
    ),
    pytest.mark.timeout(3000),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Image]]:
    folder = tmp_path_factory.mktemp("images")
    context = folder / "context"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    for name in filter(None, tracked):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, context / name)
    yield build((ROOT / "docker" / "Dockerfile").read_text(), context, folder)
    shutil.rmtree(folder)


class Contained(Native):
    """The services of one compose file, each in the root of its image."""

    def __init__(
        self, images: dict[str, Image], compose: dict[str, Any], folder: Path, postgres: str
    ) -> None:
        super().__init__(compose, folder, postgres)
        self._images = images

    def environment(self, name: str) -> dict[str, str]:
        """Of the command that enters the image; `command` gives the service its own."""
        return dict(os.environ)

    def command(self, name: str, command: Sequence[str]) -> list[str]:
        service, image = self.services[name], self._images[self.services[name]["build"]["target"]]
        assert image.user == service["user"]
        volumes = {}
        for volume in service.get("volumes", ()):
            source, place = volume.split(":")
            volumes[place] = self.folder / source
            if not volumes[place].exists():  # a new volume starts as the image has its place
                inside = image.root / place.lstrip("/")
                subprocess.run(["cp", "-a", str(inside), str(volumes[place])], check=True)
        return contained(
            image,
            command,
            environment=self.translated(name),
            volumes=volumes,
            read_only=service["read_only"],
            tmpfs=service["tmpfs"],
        )


def test_the_images_run_the_main_job(images: dict[str, Image], tmp_path: Path) -> None:
    compose = merged(load("docker-compose.yml"), load("docker-compose.cpu.yml"))
    with (
        restartable_postgres(port=free_port()) as server,
        postgres_database(server.url) as database,
    ):
        service = Contained(images, compose, tmp_path, database)
        for name in ("api", "worker"):
            assert images[name].command == service.services[name]["command"]
        main_job(service)
    written = {
        path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()
    }
    assert {"storage", "features"} <= written
    owners = {path.stat().st_uid for path in (tmp_path / "storage").rglob("*")}
    assert owners == {10001}


def test_the_service_cannot_write_to_its_root(images: dict[str, Image]) -> None:
    for place in ("/usr/x", "/opt/dspt/x", "/etc/x", "/var/lib/dspt/x"):
        command = contained(images["api"], ["touch", place], read_only=True)
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert "Read-only file system" in refused.stderr or "Permission" in refused.stderr
    shown = contained(images["api"], ["sh", "-c", "id -u; grep CapEff /proc/self/status"])
    out = subprocess.run(shown, capture_output=True, text=True, check=True).stdout.split()
    assert out == ["10001", "CapEff:", "0000000000000000"]
