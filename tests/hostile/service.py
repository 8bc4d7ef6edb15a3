"""The processes of a running `dspt serve`, and their memory while they are attacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.hostile import memory
from tests.services import children_of

#: The worker keeps its process, because the peak of its memory is measured.
ONE_PROCESS = {
    "DSPT_WORKER_JOBS_PER_PROCESS": "1000000",
    "DSPT_WORKER_REST_SECONDS": "86400",
}


def processes(data_dir: Path) -> dict[str, int]:
    """Return the ids of the processes that read uploads. The worker's child runs the jobs."""
    supervisor = int((data_dir / "serve.lock").read_text().split()[0])
    parts = {_command(pid): pid for pid in children_of(supervisor)}
    api = next(pid for command, pid in parts.items() if "app.cli" in command)
    worker = next(pid for command, pid in parts.items() if "worker.cli" in command)
    [child] = children_of(worker)
    return {"API": api, "worker": worker, "worker's child": child}


@contextmanager
def growth_of(processes: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Yield a dict that has, after the block, by how many bytes the peak of each has grown."""
    before = {name: memory.resident(pid) for name, pid in processes.items()}
    for pid in processes.values():
        memory.reset_peak(pid)
    growth: dict[str, int] = {}
    yield growth
    growth |= {name: memory.peak(pid) - before[name] for name, pid in processes.items()}


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
