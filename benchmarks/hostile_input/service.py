"""A running `dspt serve`, and its memory and disk use while it is attacked."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.hostile_input import memory
from benchmarks.skeleton.program import BenchmarkError
from scripts.demo.stack import StackError, running_stack
from tests.services import children_of, clean_environment

#: The worker keeps its process, because the peak of its memory is measured.
ONE_PROCESS = {
    "DSPT_WORKER_JOBS_PER_PROCESS": "1000000",
    "DSPT_WORKER_REST_SECONDS": "86400",
}
_LOOK_SECONDS = 0.1
_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class Processes:
    """Ids of the processes that read uploads."""

    api: int
    worker: int
    """The parent, which receives the messages."""
    worker_child: int
    """Runs the jobs."""

    @property
    def by_name(self) -> Mapping[str, int]:
        return {"API": self.api, "worker": self.worker, "worker's child": self.worker_child}


@dataclass
class Watched:
    """Values at the start, and peaks since then."""

    memory_before: dict[str, int] = field(default_factory=dict)
    memory_peak: dict[str, int] = field(default_factory=dict)
    disk_before: int = 0
    disk_peak: int = 0
    temporary_peak: int = 0


@dataclass(frozen=True)
class Service:
    """A running service."""

    client: httpx.Client
    data_dir: Path
    temporary: Path
    home: Path
    log: Path

    def processes(self) -> Processes:
        """Return the current processes."""
        supervisor = int((self.data_dir / "serve.lock").read_text().split()[0])
        parts = {_command(pid): pid for pid in children_of(supervisor)}
        api = next(pid for command, pid in parts.items() if "app.cli" in command)
        worker = next(pid for command, pid in parts.items() if "worker.cli" in command)
        [child] = children_of(worker)
        return Processes(api, worker, child)

    @contextmanager
    def watched(self) -> Iterator[Watched]:
        """Measure memory and disk during the block; disk ten times per second."""
        found, processes = Watched(), self.processes()
        for name, pid in processes.by_name.items():
            found.memory_before[name] = memory.resident(pid)
            memory.reset_peak(pid)
        found.disk_before = found.disk_peak = _bytes_in(self.data_dir)
        done = threading.Event()

        def look() -> None:
            while not done.wait(_LOOK_SECONDS):
                found.disk_peak = max(found.disk_peak, _bytes_in(self.data_dir))
                found.temporary_peak = max(found.temporary_peak, _bytes_in(self.temporary))

        thread = threading.Thread(target=look, name="disk")
        thread.start()
        try:
            yield found
        finally:
            done.set()
            thread.join()
            for name, pid in processes.by_name.items():
                found.memory_peak[name] = memory.peak(pid)


@contextmanager
def running_service(folder: Path) -> Iterator[Service]:
    """Start the service in `folder`, without settings from the environment."""
    places = {name: folder / name for name in ("home", "tmp")}
    for place in places.values():
        place.mkdir()
    environment = clean_environment(
        HOME=str(places["home"]), TMPDIR=str(places["tmp"]), HF_HUB_OFFLINE="1"
    )
    unset = {name: "" for name in os.environ if name.startswith("DSPT_")}
    log, data_dir = folder / "serve.log", folder / "data"
    try:
        with (
            running_stack(data_dir, log, environment | unset | ONE_PROCESS) as address,
            httpx.Client(base_url=address, timeout=_TIMEOUT_SECONDS) as client,
        ):
            yield Service(client, data_dir, places["tmp"], places["home"], log)
    except StackError as error:
        raise BenchmarkError(str(error)) from error


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def _bytes_in(folder: Path) -> int:
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118
            except FileNotFoundError:  # deleted meanwhile
                continue
    return total
