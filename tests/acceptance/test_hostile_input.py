"""Hostile files of every family, sent to the running service; the benchmark sends thousands."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice
from pathlib import Path

import httpx
import pytest

from benchmarks.hostile_input.families import archives, images
from benchmarks.hostile_input.send import (
    Answer,
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
from benchmarks.hostile_input.service import Service
from tests.acceptance.service import Json

ARCHIVES = IMAGES = 20
FEW = 8
MIB = 1 << 20
MAX_GROWTH_BYTES = 1152 * MIB
"""As for reading them directly: 64 million pixels at a time, and a file or two of 64 MiB."""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is measured with /proc"
)


def outcomes(answers: list[Answer]) -> Counter[str]:
    assert [f"{a.case.name}: {a.said}" for a in answers if a.outcome == "wrong"] == []
    return Counter(answer.outcome for answer in answers)


def test_every_answer_is_a_refusal_or_harmless_and_the_worker_lives_on(
    service: httpx.Client, tuned: Json, data_dir: Path, tmp_path: Path
) -> None:
    stack = Service(service, data_dir, tmp_path, tmp_path, data_dir.with_name("serve.log"))
    model, dataset, rng = tuned["model_id"], tuned["dataset"]["id"], random.Random(1)
    # The API loads the backbone at its first prediction, the worker torch at its first job.
    list(images_to_predict(service, model, images(0, 1)))
    assert sound_job(service, rng)["status"] == "succeeded"
    before = stack.processes()
    with stack.watched() as watched:
        as_jobs = outcomes(
            list(archives_as_jobs(service, islice(archives(1, 2 * ARCHIVES), 0, None, 2)))
        )
        in_zips = outcomes(list(images_as_jobs(service, images(1, IMAGES), rng)))
        alone = outcomes(list(images_to_predict(service, model, images(1, IMAGES))))
        bodies = outcomes(list(images_in_bodies(service, model, images(1, IMAGES))))
        in_a_batch = outcomes(list(images_in_a_batch(service, model, images(1, IMAGES))))
        added = outcomes(list(images_added(service, dataset, images(1, FEW))))
        stored = outcomes(list(archives_as_data_sets(service, archives(2, FEW))))
        more = outcomes(list(archives_added(service, dataset, archives(2, FEW))))
        batches = outcomes(list(archives_as_batches(service, model, archives(2, FEW))))
    assert as_jobs["failed"] + as_jobs["refused"] > ARCHIVES / 2
    assert as_jobs["failed"] >= as_jobs["refused"] >= 1
    assert as_jobs["rejected"] >= 1
    assert in_zips == alone == bodies == in_a_batch  # the worker and the API judge alike
    for found in (added, stored, more, batches):
        assert found["refused"] + found["rejected"] + found["failed"] > FEW / 3, found
    assert alone["rejected"] > IMAGES / 3
    for name, peak in watched.memory_peak.items():
        assert peak - watched.memory_before[name] < MAX_GROWTH_BYTES, name
    assert stack.processes() == before
    after = sound_job(service, rng)
    assert (after["status"], after["attempt"]) == ("succeeded", 1)
