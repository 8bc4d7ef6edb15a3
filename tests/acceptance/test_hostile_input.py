"""Hostile files, sent to the running service: of every family to one call or another.

`make test-deep` sends more of them, DSPT_FUZZ_SEED draws others.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import httpx
import pytest

from tests.acceptance.service import Json
from tests.depth import rounds
from tests.hostile import families
from tests.hostile.case import Case
from tests.hostile.families import archives, images
from tests.hostile.send import (
    Answer,
    archives_as_jobs,
    images_as_jobs,
    images_to_predict,
    sound_job,
)
from tests.hostile.send_data import (
    archives_added,
    archives_as_batches,
    archives_as_data_sets,
    images_added,
    images_in_a_batch,
    images_in_bodies,
)
from tests.hostile.service import growth_of, processes

SEED = int(os.environ.get("DSPT_FUZZ_SEED", "1"))
ARCHIVES, IMAGES = (rounds(len(kind), 500) for kind in (families.ARCHIVES, families.IMAGES))
"""At least one of each family."""
MIB = 1 << 20
MAX_GROWTH_BYTES = 1152 * MIB
"""As for reading them directly: 64 million pixels at a time, and a file or two of 64 MiB."""

pytestmark = [
    pytest.mark.skipif(
        not Path("/proc/self/clear_refs").exists(), reason="memory is measured with /proc"
    ),
    pytest.mark.timeout(40 * (ARCHIVES + IMAGES)),
]


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def some_archives(call: int) -> Iterator[Case]:
    """Those for one of four calls, each of which gets other families."""
    return islice(archives(SEED, ARCHIVES), call, None, 4)


def outcomes(answers: list[Answer]) -> Counter[str]:
    assert [f"{a.case.name}: {a.said}" for a in answers if a.outcome == "wrong"] == []
    return Counter(answer.outcome for answer in answers)


def test_every_answer_is_a_refusal_or_harmless_and_the_worker_lives_on(
    service: httpx.Client, tuned: Json, data_dir: Path, temporary: Path
) -> None:
    model, dataset, rng = tuned["model_id"], tuned["dataset"]["id"], random.Random(SEED)
    # The API loads the backbone at its first prediction, the worker torch at its first job.
    list(images_to_predict(service, model, images(SEED, 1)))
    assert sound_job(service, rng)["status"] == "succeeded"
    before, files_before = processes(data_dir), files_in(temporary)
    with growth_of(before) as growth:
        as_jobs = outcomes(list(archives_as_jobs(service, some_archives(0))))
        stored = outcomes(list(archives_as_data_sets(service, some_archives(1))))
        more = outcomes(list(archives_added(service, dataset, some_archives(2))))
        batches = outcomes(list(archives_as_batches(service, model, some_archives(3))))
        in_zips = outcomes(list(images_as_jobs(service, images(SEED, IMAGES), rng)))
        alone = outcomes(list(images_to_predict(service, model, images(SEED, IMAGES))))
        bodies = outcomes(list(images_in_bodies(service, model, images(SEED, IMAGES))))
        in_a_batch = outcomes(list(images_in_a_batch(service, model, images(SEED, IMAGES))))
        added = outcomes(list(images_added(service, dataset, images(SEED, IMAGES // 4))))
    assert {"failed", "refused", "rejected"} <= (as_jobs + stored + more + batches).keys()
    assert as_jobs["failed"] >= 1
    for found in (as_jobs, added, stored, more, batches):
        bad = found["refused"] + found["rejected"] + found["failed"]
        assert bad > found.total() / 3, found
    assert in_zips == alone == bodies == in_a_batch  # the worker and the API judge alike
    assert alone["rejected"] > IMAGES / 3
    assert {name: grown for name, grown in growth.items() if grown > MAX_GROWTH_BYTES} == {}
    assert processes(data_dir) == before
    assert files_in(temporary) <= files_before
    after = sound_job(service, rng)
    assert (after["status"], after["attempt"]) == ("succeeded", 1)
