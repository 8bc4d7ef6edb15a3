"""Read every file directly, then send it to a running service."""

from __future__ import annotations

import random
import tempfile
import time
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from benchmarks.hostile_input.case import Case
from benchmarks.hostile_input.families import archives, images
from benchmarks.hostile_input.reader import Kind, Reading, reading_in
from benchmarks.hostile_input.send import (
    Answer,
    Outcome,
    archives_as_jobs,
    images_as_jobs,
    images_to_predict,
    sound_job,
)
from benchmarks.hostile_input.send_data import (
    archives_added,
    archives_as_batches,
    archives_as_data_sets,
    images_added,
    images_in_a_batch,
    images_in_bodies,
)
from benchmarks.hostile_input.service import Processes, Watched, running_service
from benchmarks.hostile_input.zip_bytes import png
from benchmarks.skeleton.program import Document, grid_progress

_MIB = 1 << 20
_OUTCOMES: tuple[str, ...] = get_args(Outcome)
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


def measure(options: Namespace, document: Document, console: Console) -> None:
    """Fill in the figures of the attack."""
    with grid_progress(console) as bar:
        task = bar.add_task("", total=5 * options.archives + 6 * options.images)

        def advance(doing: str) -> None:
            bar.update(task, advance=1, description=doing)

        findings = attack(options.seed, options.archives, options.images, advance)
    document |= {"seed": options.seed, **figures(findings)}


def attack(seed: int, n_archives: int, n_images: int, advance: Advance) -> Findings:
    """Return the findings. Raises BenchmarkError if the service does not start."""
    with tempfile.TemporaryDirectory(prefix="dspt-hostile-") as name:
        folder = Path(name)
        read, written = _read(folder / "reader", seed, n_archives, n_images, advance)
        with running_service(folder) as service:
            rng = random.Random(seed)
            client, job = service.client, sound_job(service.client, rng)
            model, dataset = job["model_id"], job["dataset"]["id"]
            # The API loads the backbone at the first request.
            list(images_to_predict(client, model, [Case("nothing wrong", 0, png(rng))]))
            before = service.processes()
            with service.watched() as watched:
                answers = {
                    "as jobs": archives_as_jobs(client, archives(seed, n_archives)),
                    "as data sets": archives_as_data_sets(client, archives(seed, n_archives)),
                    "added": archives_added(client, dataset, archives(seed, n_archives)),
                    "as batches": archives_as_batches(client, model, archives(seed, n_archives)),
                    "in zips": images_as_jobs(client, images(seed, n_images), rng),
                    "to /predict": images_to_predict(client, model, images(seed, n_images)),
                    "in bodies": images_in_bodies(client, model, images(seed, n_images)),
                    "added alone": images_added(client, dataset, images(seed, n_images)),
                    "in a batch": images_in_a_batch(client, model, images(seed, n_images)),
                }
                attacks = [_timed(name, found, advance) for name, found in answers.items()]
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


def _timed(name: str, answers: Iterator[Answer], advance: Advance) -> Attack:
    start, found = time.perf_counter(), []
    for answer in answers:
        found.append(answer)
        advance(name)
    return Attack(name, found, time.perf_counter() - start)


def _files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def figures(findings: Findings) -> dict[str, Any]:
    """Return all figures for JSON."""
    watched = findings.watched
    return {
        "right": findings.right,
        "read": {kind: _of_readings(found) for kind, found in findings.read.items()},
        "attacks": [_attack(attack) for attack in findings.attacks],
        "memory_mib": {
            name: {"before": before // _MIB, "peak": watched.memory_peak[name] // _MIB}
            for name, before in watched.memory_before.items()
        },
        "disk_mib": {
            "before": round(watched.disk_before / _MIB, 1),
            "peak": round(watched.disk_peak / _MIB, 1),
            "temporary_peak": round(watched.temporary_peak / _MIB, 1),
        },
        "same_processes": findings.before == findings.after,
        "sound_job_afterwards": findings.sound_job,
        "written_elsewhere": [*findings.written, *findings.left_behind],
    }


def _of_readings(found: Sequence[tuple[Case, Reading]]) -> dict[str, Any]:
    families: dict[str, list[Reading]] = defaultdict(list)
    for case, reading in found:
        families[case.family].append(reading)
    return {
        "files": len(found),
        "cpu_seconds": round(sum(reading.cpu_seconds for _, reading in found), 1),
        **_most([reading for _, reading in found]),
        "broken": [f"{c.name}: {r.said}" for c, r in found if r.outcome == "broken"],
        "families": {family: _most(readings) for family, readings in families.items()},
    }


def _most(readings: Sequence[Reading]) -> dict[str, float]:
    return {
        "most_cpu_seconds": round(max(reading.cpu_seconds for reading in readings), 2),
        "most_growth_mib": max(reading.growth_bytes for reading in readings) // _MIB,
    }


def _attack(attack: Attack) -> dict[str, Any]:
    families: dict[str, Counter[str]] = defaultdict(Counter)
    said: Counter[str] = Counter()
    for answer in attack.answers:
        families[answer.case.family][answer.outcome] += 1
        if answer.outcome in ("refused", "failed"):
            said[answer.said] += 1
    return {
        "name": attack.name,
        "files": len(attack.answers),
        "seconds": round(attack.seconds, 1),
        "outcomes": _counted(Counter(answer.outcome for answer in attack.answers)),
        "families": {family: _counted(counts) for family, counts in families.items()},
        "codes": dict(said.most_common()),
        "wrong": [f"{a.case.name}: {a.said}" for a in attack.answers if a.outcome == "wrong"],
    }


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    return {outcome: counts.get(outcome, 0) for outcome in _OUTCOMES}
