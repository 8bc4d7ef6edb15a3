"""Read every file directly, then send it to a running service."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.hostile_input.archives import archives
from benchmarks.hostile_input.case import Case
from benchmarks.hostile_input.images import images
from benchmarks.hostile_input.reader import Kind, Reading, reading_in
from benchmarks.hostile_input.send import (
    Answer,
    archives_as_jobs,
    images_as_jobs,
    images_to_predict,
    sound_job,
)
from benchmarks.hostile_input.service import Processes, Watched, running_service
from benchmarks.hostile_input.zip_bytes import png

Advance = Callable[[str], None]
"""Called after each file with the current step."""


@dataclass(frozen=True)
class Attack:
    """One way to send files, and the result of each file."""

    name: str
    answers: list[Answer]
    seconds: float


@dataclass(frozen=True)
class Findings:
    """The results of the whole run."""

    read: dict[Kind, list[tuple[Case, Reading]]]
    written: list[str]
    """Files that were written while reading."""
    attacks: list[Attack]
    watched: Watched
    before: Processes
    after: Processes
    sound_job: str
    """Status of the valid job at the end."""
    left_behind: list[str]
    """Files outside the data directory at the end."""

    @property
    def right(self) -> bool:
        """Whether there were no errors."""
        answers = [answer for attack in self.attacks for answer in attack.answers]
        readings = [reading for found in self.read.values() for _, reading in found]
        return (
            all(answer.outcome != "wrong" for answer in answers)
            and all(reading.outcome != "broken" for reading in readings)
            and not self.written
            and not self.left_behind
            and self.before == self.after
            and self.sound_job == "succeeded"
        )


def run(seed: int, n_archives: int, n_images: int, advance: Advance) -> Findings:
    """Return the findings. Raises StackError if the service does not start."""
    with tempfile.TemporaryDirectory(prefix="dspt-hostile-") as name:
        folder = Path(name)
        read, written = _read(folder / "reader", seed, n_archives, n_images, advance)
        with running_service(folder) as service:
            rng = random.Random(seed)
            model = sound_job(service.client, rng)["model_id"]
            # The API loads the backbone at the first request.
            list(images_to_predict(service.client, model, [Case("nothing wrong", 0, png(rng))]))
            before = service.processes()
            with service.watched() as watched:
                answers = {
                    "as jobs": archives_as_jobs(service.client, archives(seed, n_archives)),
                    "in zips": images_as_jobs(service.client, images(seed, n_images), rng),
                    "to /predict": images_to_predict(service.client, model, images(seed, n_images)),
                }
                attacks = [_attack(name, found, advance) for name, found in answers.items()]
            after = service.processes()
            state = sound_job(service.client, rng)["status"]
            left = _files_in(service.home) + _files_in(service.temporary)
    return Findings(read, written, attacks, watched, before, after, state, left)


def _read(
    folder: Path, seed: int, n_archives: int, n_images: int, advance: Advance
) -> tuple[dict[Kind, list[tuple[Case, Reading]]], list[str]]:
    read: dict[Kind, list[tuple[Case, Reading]]] = {"archive": [], "image": []}
    found: dict[Kind, Iterator[Case]] = {
        "archive": archives(seed, n_archives),
        "image": images(seed, n_images),
    }
    with reading_in(folder) as reader:
        for kind, cases in found.items():
            for case in cases:
                read[kind].append((case, reader.read(kind, case.data)))
                advance("reading")
    return read, [path for path in _files_in(folder) if path != "input"]


def _attack(name: str, answers: Iterator[Answer], advance: Advance) -> Attack:
    start, found = time.perf_counter(), []
    for answer in answers:
        found.append(answer)
        advance(name)
    return Attack(name, found, time.perf_counter() - start)


def _files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
