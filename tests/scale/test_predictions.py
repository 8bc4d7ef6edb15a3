"""Predictions of thousands of models by API processes on several hosts."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles

import pytest
from dspt_client import Client

from benchmarks.scale.cluster import KEY, Cluster
from benchmarks.scale.host import IMAGE_SECONDS
from tests.acceptance.photos import photo
from tests.services import wait_until

pytestmark = [pytest.mark.scale_only, pytest.mark.slow]

MODELS, REPLICAS = 1000, 3
#: Seconds of the tower for each photo: so many that the cores of this machine have time left.
TOWER = 0.1
SECONDS = 20.0
PHOTO = photo("apple", 1)
CALLERS_PER_REPLICA = 4


def test_replicas_share_the_predictions_of_all_models(hosts: Cluster, tmp_path: Path) -> None:
    """Three replicas do nearly three times the work of one, and every answer is its model's own."""
    hosts.start(apis=REPLICAS, workers=1)
    models = _import_models(hosts, tmp_path)
    hosts.restart_apis(**{IMAGE_SECONDS: str(TOWER), "DSPT_PREDICT_TOWER_THREADS": "1"})
    try:
        cold = [_seconds(hosts.client, models, model) for model in models[:200]]
        warm = [_seconds(hosts.client, models, models[0]) for _ in range(20)]
        rates = {}
        for replicas in (1, REPLICAS):
            hosts.start(apis=replicas, workers=1)
            with _calling(hosts, models, CALLERS_PER_REPLICA * replicas) as answered:
                rates[replicas] = _rate(answered)
        found = (
            f"{rates} predictions a second, cold {median(cold):.3f} s, "
            f"p95 {quantiles(cold, n=20)[-1]:.3f} s, warm {median(warm):.3f} s (the tower's "
            f"{TOWER} s of it), load average {os.getloadavg()[0]:.1f}"
        )
        print(found)  # noqa: T201 - figures of `make test-scale -s`
        assert rates[REPLICAS] >= 0.9 * REPLICAS * rates[1], found
    finally:
        hosts.start(apis=REPLICAS, workers=1)
        hosts.restart_apis(**{IMAGE_SECONDS: "", "DSPT_PREDICT_TOWER_THREADS": ""})


def test_an_alias_that_moves_is_answered_by_one_model_each_time(
    hosts: Cluster, tmp_path: Path
) -> None:
    hosts.start(apis=REPLICAS, workers=1)
    models = _import_models(hosts, tmp_path, count=2)
    hosts.client.aliases.promote(models[0], "moving")
    with _calling(hosts, models, 6, alias="moving") as answered:
        for model in [*models, *models, *models]:
            hosts.client.aliases.promote(model, "moving")
            reached = answered() + 12
            wait_until(lambda r=reached: answered() > r, 120, "predictions")
            assert _asked(hosts.client, models, "moving") == model


def _import_models(hosts: Cluster, folder: Path, count: int = MODELS) -> list[str]:
    """Store the same classifier so many times, each with labels of its own; return their ids."""
    ids = []
    for number in range(count):
        manifest = hosts.result.model.manifest
        labels = [f"{number}-{name}" for name in manifest.classes]
        model = replace(
            hosts.result.model, manifest=manifest.model_copy(update={"classes": labels})
        )
        path = folder / f"{number}.safetensors"
        model.save(path)
        ids.append(hosts.client.models.upload(path).id)
    return ids


def _asked(client: Client, models: list[str], model: str) -> str:
    """Classify a photo; return the id of the model that answered, with its own labels."""
    answer = client.predict(model, [PHOTO])
    (prediction,) = answer.predictions
    assert prediction.top is not None
    numbers = {score.label.partition("-")[0] for score in prediction.top}
    assert numbers == {str(models.index(answer.model))}
    return answer.model


def _seconds(client: Client, models: list[str], model: str) -> float:
    start = time.perf_counter()
    assert _asked(client, models, model) == model
    return time.perf_counter() - start


@contextmanager
def _calling(
    hosts: Cluster, models: list[str], callers: int, alias: str | None = None
) -> Iterator[Callable[[], int]]:
    """Classify photos all the time, by all models in turn; gives the number of answers so far."""
    done, answers = threading.Event(), [0] * callers

    def call(caller: int) -> None:
        order = random.Random(caller).sample(models, len(models))
        with Client(hosts.url, KEY) as client:
            for model in cycle(order):
                if done.is_set():
                    return
                answered = _asked(client, models, alias or model)
                assert alias or answered == model
                answers[caller] += 1

    with ThreadPoolExecutor(callers) as pool:
        calls = [pool.submit(call, caller) for caller in range(callers)]
        try:
            yield lambda: sum(answers)
        finally:
            done.set()
        for each in calls:
            each.result(120)


def _rate(answered: Callable[[], int]) -> float:
    """Predictions a second, once all callers are at work."""
    wait_until(lambda: answered() > 20, 120, "predictions")
    first, start = answered(), time.monotonic()
    time.sleep(SECONDS)
    return (answered() - first) / (time.monotonic() - start)
