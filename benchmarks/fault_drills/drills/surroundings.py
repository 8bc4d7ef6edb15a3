"""Full disks and clock jumps."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from app.kit.settings import Settings
from benchmarks.fault_drills.client import ENDED, request_for
from benchmarks.fault_drills.stack import Shape
from benchmarks.fault_drills.trial import Trial, archive, drill

_DISKS = ("storage", "checkpoints", "scratch")
_DISK_BYTES = 16 << 20
_HOURS = 12  # more than the time after which the broker redelivers a message
_CLOCK = "clock"


def _small_disks(settings: Settings, cleanup: ExitStack) -> None:
    for name in _DISKS:
        folder = settings.data_dir / name
        folder.mkdir(parents=True)
        _mount(folder)
        cleanup.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)


def _mount(folder: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "dspt", str(folder)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def _needs_mount(database: str) -> str | None:
    if os.geteuid() != 0:
        return "only root may mount a small disk"
    with tempfile.TemporaryDirectory() as folder:
        try:
            _mount(Path(folder))
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            return f"a small disk cannot be mounted here ({error})"
        subprocess.run(["umount", folder], check=True)
    return None


@drill(
    "disk-full",
    "disk full in the storage, for checkpoints or for scratch files; then retried",
    shape=Shape(prepare=_small_disks),
    needs=_needs_mount,
)
def fill_disk(trial: Trial) -> None:
    job = trial.post()
    disk = trial.rng.choice(_DISKS)
    trial.wait_for_moment(job)
    trial.moment += f" ({disk} full)"
    client, folder = trial.stack.client, trial.stack.settings.data_dir / disk
    filler = folder / "filler"
    _fill(filler)
    try:
        if disk == "storage":
            _refused(trial)
        ended = client.until(job, *ENDED, seconds=60)
    finally:
        filler.unlink()
    if ended["status"] == "failed" and disk != "checkpoints":
        if ended["error"]["code"] != "storage_full":
            trial.wrong.append(f"job {job} failed with {ended['error']}, not storage_full")
        client.send("POST", f"/jobs/{job}/retry").raise_for_status()


def _refused(trial: Trial) -> None:
    """Check that an upload that does not fit on the disk is refused and makes no job."""
    config = {"epochs": trial.stack.epochs}
    request = request_for(archive(f"{trial.name}-refused"), config, "refused")
    answer = trial.stack.client.http.post("/jobs", **request)
    if answer.status_code != 507 or answer.json()["code"] != "storage_full":
        trial.wrong.append(f"an upload to a full disk was answered with {answer.text}")


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as target:
        for size in (1 << 16, 1):
            try:
                while True:
                    target.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def _set(clock: Path, seconds: float) -> None:
    new = clock.with_suffix(".new")
    new.write_text(f"{seconds:+.3f}\n")
    new.replace(clock)


def _library() -> Path | None:
    """Return the path of libfaketime, next to its command or from the system's packages."""
    command = shutil.which("faketime")
    roots = [Path(command).resolve().parent.parent] if command else []
    for root in (*roots, Path("/usr"), Path("/usr/local")):
        for place in ("lib/faketime", "lib/*/faketime"):
            if found := sorted(root.glob(f"{place}/libfaketimeMT.so*")):
                return found[0]
    return None


def _with_clock(folder: Path) -> Mapping[str, str]:
    _set(folder / _CLOCK, 0)
    return {
        "LD_PRELOAD": str(_library()),
        "FAKETIME_TIMESTAMP_FILE": str(folder / _CLOCK),
        "FAKETIME_NO_CACHE": "1",
        "NO_FAKE_STAT": "1",
        "DONT_FAKE_MONOTONIC": "1",  # its name up to 0.9.9
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _needs_faketime(database: str) -> str | None:
    return None if _library() else "libfaketime is not installed"


# No other fault may occur at the same time: under libfaketime with an unchanged monotonic clock,
# time.sleep fails, which a worker uses when it has to reconnect.
@drill(
    "clock",
    f"the clock of API and workers jumps by up to {_HOURS} hours and back",
    shape=Shape(environment=_with_clock),
    needs=_needs_faketime,
)
def move_clock(trial: Trial) -> None:
    job = trial.post()
    trial.wait_for_moment(job)
    clock = trial.stack.folder / _CLOCK
    for _ in range(trial.rng.randint(1, 3)):
        _set(clock, trial.rng.uniform(-_HOURS, _HOURS) * 3600)
        time.sleep(trial.rng.uniform(0, trial.length / 2))
    trial.stack.client.until(job, *ENDED, seconds=60)
    _set(clock, 0)
