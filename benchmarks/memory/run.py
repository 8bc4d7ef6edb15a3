"""Start `dspt serve`, use it, and read the memory of its processes."""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from dspt_client import Client, ClientError
from dspt_client.schemas.status import TERMINAL
from rich.console import Console

from app.datasets.demo_photos import make_demo_data
from benchmarks.random_weights import loadable
from benchmarks.skeleton.program import BenchmarkError, Document
from benchmarks.stack import HOST, Part, wait
from tests.services import children_of, clean_environment, free_port

_JOB_SECONDS = 900.0
#: Until threads, caches and the allocator have settled.
_SETTLE_SECONDS = 5.0
#: Part of a command line -> name of the process.
_ROLES = {
    "app.serve.watchdog": "watchdog",
    "redis-server": "Redis",
    "app.cli api": "API",
    "worker.cli": "worker",
}
_COMPILED = ("image tower loaded", "image tower compiled")


def measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    try:
        _measure(options, document, console)
    except ClientError as error:
        raise BenchmarkError(str(error)) from error


def _measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    demo = make_demo_data(1)
    photos = [each.jpeg for each in demo.unseen]
    eight = [photos[number % len(photos)] for number in range(8)]
    document["stages"] = stages = []
    with (
        tempfile.TemporaryDirectory(prefix="dspt-memory-") as folder,
        _service(
            Path(folder), backbone := loadable(options.backbone, Path(folder) / "weights")
        ) as (supervisor, url),
        Client(url, timeout=300) as client,
    ):
        data = Path(folder) / "photos.zip"
        data.write_bytes(demo.zip)

        def record(stage: str, **seconds: float) -> None:
            time.sleep(_SETTLE_SECONDS)
            keep(stage, _memory(supervisor), **seconds)

        def keep(stage: str, mib: dict[str, float], **seconds: float) -> None:
            console.print(f"{stage}: {sum(mib.values()):.0f} MiB {mib}")
            stages.append({"stage": stage, "mib": mib, "seconds": seconds})

        record("idle")
        model, seconds = _job(client, data, backbone)
        record("after a job", job=seconds)
        _, seconds = _job(client, data, backbone, seed=2)
        record("after a second job", job=seconds)
        with suppress(BenchmarkError):
            wait(lambda: not _has_torch(supervisor), "the worker's rest", 180)
        record("after a rest")
        start = time.monotonic()
        client.predict(model, photos[:1])
        seconds = time.monotonic() - start
        log = Path(folder) / "data" / "logs" / "api.log"
        wait(lambda: any(text in log.read_text() for text in _COMPILED), "a compiled tower")
        for _ in range(0, options.images, 8):
            client.predict(model, eight)
        record("after predictions", first_prediction=seconds)
        highest: dict[str, float] = {}

        def predict_and_look() -> None:
            nonlocal highest
            client.predict(model, eight)
            highest = max(highest, _memory(supervisor), key=lambda mib: sum(mib.values()))

        _, seconds = _job(client, data, backbone, seed=3, meanwhile=predict_and_look)
        keep("most in a job beside predictions", highest, job=seconds)


@contextmanager
def _service(folder: Path, backbone: str) -> Iterator[tuple[int, str]]:
    """Run `dspt serve`; yield its process id and URL."""
    environment = clean_environment(
        **{name: os.environ[name] for name in ("HF_HOME", "HF_HUB_CACHE") if name in os.environ},
    )
    if backbone.startswith("local-dir:"):
        environment["DSPT_LOCAL_BACKBONES"] = json.dumps([backbone])
    port, log = free_port(), folder / "serve.log"
    arguments = ["serve", "--port", str(port), "--data-dir", str(folder / "data")]
    service = Part(arguments, environment, log)
    service.start()
    try:
        wait(lambda: "DSPT is ready" in log.read_text() or not service.alive, "dspt serve")
        if not service.alive:
            raise BenchmarkError(log.read_text())
        yield service.process.pid, f"http://{HOST}:{port}"
    finally:
        service.stop()


def _memory(supervisor: int) -> dict[str, float]:
    """Return the MiB of each process by its name."""
    names = {supervisor: "supervisor"}
    for child in children_of(supervisor):
        command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        names[child] = next((role for part, role in _ROLES.items() if part in command), "other")
        names |= dict.fromkeys(children_of(child), f"{names[child]}'s process")
    files = {process: _file_pages(process) for process in names}
    found: dict[str, float] = {}
    for process, name in names.items():
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        own: float = sum(
            map(int, re.findall(r"^Pss_(?:Anon|Shmem): +(\d+) kB$", rollup, re.MULTILINE))
        )
        for file, size in files[process].items():
            sizes = [each[file] for each in files.values() if file in each]
            own += size / 1024 * max(sizes) / sum(sizes)
        found[name] = found.get(name, 0) + own / 1024
    return found


def _file_pages(process: int) -> dict[str, int]:
    """Return the bytes of each mapped file that are in memory and unchanged."""
    return {
        each.path: each.rss - each.anonymous
        for each in psutil.Process(process).memory_maps()
        if each.path.startswith("/") and each.rss > each.anonymous
    }


def _has_torch(supervisor: int) -> bool:
    """Return whether a process of the worker's pool has torch in memory."""
    maps = [
        Path(f"/proc/{grandchild}/maps").read_text()
        for child in children_of(supervisor)
        for grandchild in children_of(child)
    ]
    return any("libtorch" in text for text in maps)


def _job(
    client: Client,
    data: Path,
    backbone: str,
    seed: int = 1,
    meanwhile: Callable[[], object] = lambda: None,
) -> tuple[str, float]:
    """Run a job; return the id of its model, and the seconds from its submission to its end.

    meanwhile: called again and again until it ends.
    """
    start = time.monotonic()
    job = client.jobs.create(data, config={"backbone": backbone, "seed": seed})

    def ended() -> bool:
        meanwhile()
        job.refresh()
        return job.status in TERMINAL

    wait(ended, "the job", _JOB_SECONDS)
    seconds = time.monotonic() - start
    job.wait()  # raises JobFailed
    return str(job.model_id), seconds
