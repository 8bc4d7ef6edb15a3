"""Read hostile files as the worker does, in a process that cannot write to disk.

`reading_in` starts it. Run as a module, this is the process itself: for each line of JSON on stdin,
{"kind": "archive" or "image", "path": ...}, it writes a line with the outcome.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.hostile import memory

Kind = Literal["archive", "image"]
Outcome = Literal["refused", "rejected", "harmless", "broken"]
"""Refused as a whole; some files rejected; all read; an error that is not one of dspt's."""

ADDRESS_SPACE = 4 << 30
"""Limits the memory of the process, so that a bomb does not exhaust the machine."""


@dataclass(frozen=True)
class Reading:
    """The result of one file."""

    outcome: Outcome
    said: str
    cpu_seconds: float
    growth_bytes: int
    """Peak memory minus the memory before."""


class Reader:
    """Controls the process."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._file = folder / "input"

    def read(self, kind: Kind, data: bytes) -> Reading:
        """Let it read `data`. Raises EOFError if the process dies."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._file.write_bytes(data)
        self._process.stdin.write(json.dumps({"kind": kind, "path": str(self._file)}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise EOFError(f"the reader died with exit code {self._process.wait()}")
        return Reading(**json.loads(line))


@contextmanager
def reading_in(folder: Path) -> Iterator[Reader]:
    """Start a reader in `folder`, which contains its home, temporary and current directories."""
    places = {name: folder / name for name in ("home", "tmp", "here")}
    for place in places.values():
        place.mkdir(parents=True)
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.hostile.reader"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=places["here"],
        env={
            "PYTHONPATH": str(root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(places["home"]),
            "TMPDIR": str(places["tmp"]),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
    )
    with process:
        try:
            yield Reader(process, folder)
        finally:
            process.kill()


def main() -> None:
    """Read the files named on stdin until it ends."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # not a byte may be written
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from dspt.data import load_dataset  # noqa: F401 - imported before memory is measured

    for line in sys.stdin:
        order: dict[str, str] = json.loads(line)
        before = memory.resident()
        memory.reset_peak()
        start = time.process_time()
        outcome, said = _read(order["kind"], Path(order["path"]))
        reading = {
            "outcome": outcome,
            "said": said,
            "cpu_seconds": time.process_time() - start,
            "growth_bytes": memory.peak() - before,
        }
        sys.stdout.write(json.dumps(reading) + "\n")
        sys.stdout.flush()


def _read(kind: str, path: Path) -> tuple[Outcome, str]:
    try:
        return _read_archive(path) if kind == "archive" else _read_image(path.read_bytes())
    except Exception as error:  # noqa: BLE001 - the tests look for unexpected errors
        return "broken", f"{type(error).__name__}: {error}"[:500]


def _read_archive(path: Path) -> tuple[Outcome, str]:
    from dspt.data import load_dataset, read_image
    from dspt.errors import DatasetError

    try:
        with load_dataset(path) as data:
            for item in data.items[:5]:
                image = read_image(data, item)
                assert image.mode == "RGB"
            told: dict[str, Any] = data.to_dict()
    except DatasetError as error:
        for problem in error.problems:
            assert problem.code
            assert problem.message
            assert problem.where.isprintable()
        return "refused", error.code
    json.dumps(told).encode()  # no lone surrogates either
    return ("rejected", told["rejected"][0]["reason"]) if told["rejected"] else ("harmless", "")


def _read_image(data: bytes) -> tuple[Outcome, str]:
    from dspt.data.images import check_image, decode_image
    from dspt.errors import ImageError

    reasons: list[str | None] = []
    for read in (check_image, decode_image):
        try:
            read(data)
            reasons.append(None)
        except ImageError as error:
            reasons.append(error.message)
    checked, decoded = reasons
    assert (checked or "-").isprintable()
    assert checked == decoded, f"{checked} when checked, {decoded} when decoded"
    return ("harmless", "") if checked is None else ("refused", checked)


if __name__ == "__main__":
    main()
