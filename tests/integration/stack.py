"""The API in this process beside a real Redis and real workers, and photos for their jobs."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.kit.settings import Settings
from app.main import create_app
from tests.integration.conftest import local_client, zip_of
from tests.services import clean_environment, wait_until
from tests.warm import Forked, Warm


def photos(per_class: int = 6) -> dict[str, bytes]:
    """Two classes that differ in colour."""
    rng = np.random.default_rng(0)
    files = {}
    for name, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
        for number in range(per_class):
            pixels = np.clip(rng.normal(colour, 40, (48, 48, 3)), 0, 255).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            files[f"{name}/{number}.png"] = buffer.getvalue()
    return files


class Stack:
    """The API in this process, a Redis, and workers that the test starts."""

    def __init__(self, settings: Settings, log: Path, warm: Warm) -> None:
        self.settings = settings
        self._warm = warm
        self.client = local_client(create_app(settings))
        self._log = log

    @contextmanager
    def worker(
        self, *options: str, cold: bool = False, module: str = "dspt.cli", **settings: Any
    ) -> Iterator[Forked | subprocess.Popen[bytes]]:
        """`dspt worker OPTIONS`, stopped at the end; `cold`: it imports all by itself.

        module: see Warm.dspt.
        settings: of this worker alone, such as the folder of another machine.
        """
        own = self.settings.model_copy(update=settings).model_dump(mode="json", exclude_unset=True)
        environment = clean_environment(
            **{
                f"DSPT_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
                for name, value in own.items()
            },
            OMP_NUM_THREADS="1",
            PYTHONWARNINGS="ignore",
        )
        arguments = ["worker", *options]
        process = (
            _cold(arguments, environment, self._log)
            if cold
            else self._warm.dspt(arguments, environment, self._log, module)
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(120)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def post(self, files: dict[str, bytes], **config: Any) -> str:
        response = self.client.post(
            "/jobs",
            files={"dataset": ("a.zip", zip_of(files))},
            data={"config": json.dumps(config)},
        )
        assert response.status_code == 202, response.text
        job_id: str = response.json()["id"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.client.get(f"/jobs/{job_id}").json()
        return job

    def wait(self, job_id: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        def reached() -> bool:
            job = self.job(job_id)
            ended = job["status"] in ("succeeded", "failed", "cancelled")
            assert condition(job) or not ended, f"{job}\n{self.log()}"
            return condition(job)

        wait_until(reached, 600, f"the job\n{self.log()}", pause=0.05)
        return self.job(job_id)

    def statuses(self, job_id: str) -> list[str]:
        events = self.client.get(f"/jobs/{job_id}/events?limit=1000").json()["data"]
        return [event["data"]["status"] for event in events if event["type"] == "status"]

    def log_lines(self) -> list[dict[str, Any]]:
        """What the workers logged so far."""
        lines = self._log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def log(self) -> str:
        return self._log.read_text()[-5000:] if self._log.exists() else ""


def _cold(
    arguments: list[str], environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("dspt")), *arguments]
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
