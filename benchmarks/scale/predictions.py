"""Predictions of many models by several API processes, whose image tower is simulated."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path

from dspt_client import Client

from benchmarks.scale.cluster import KEY, Cluster
from benchmarks.scale.host import IMAGE_SECONDS
from benchmarks.skeleton.program import BenchmarkError
from tests.acceptance.photos import photo
from tests.services import wait_until

TOWER_SECONDS = 0.1
"""Of the tower for each photo: so many that the cores of one machine have time left for eight."""
CALLERS = 4
"""Of each API process: one photo is in its tower, and others wait."""
_SECONDS = 15.0
_PHOTO = photo("apple", 1)


def import_models(cluster: Cluster, count: int) -> list[str]:
    """Store the same classifier so many times, each with labels of its own; return their ids."""
    ids, model = [], cluster.result.model
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            labels = [f"{number}-{name}" for name in model.manifest.classes]
            path = Path(folder, f"{number}.safetensors")
            manifest = model.manifest.model_copy(update={"classes": labels})
            replace(model, manifest=manifest).save(path)
            ids.append(cluster.client.models.upload(path).id)
    return ids


@contextmanager
def slow_towers(cluster: Cluster) -> Iterator[None]:
    """Restart the API processes that run with a tower that takes TOWER_SECONDS for each photo."""
    slow = {IMAGE_SECONDS: str(TOWER_SECONDS), "DSPT_PREDICT_TOWER_THREADS": "1"}
    cluster.restart_apis(**slow)
    try:
        yield
    finally:
        cluster.restart_apis(**dict.fromkeys(slow, ""))


def ask(client: Client, models: Sequence[str], model: str) -> str:
    """Classify a photo by a model or alias; return the id of the model that answered.

    Raises BenchmarkError if the labels are another model's.
    """
    answer = client.predict(model, [_PHOTO])
    (prediction,) = answer.predictions
    numbers = {score.label.partition("-")[0] for score in prediction.top or ()}
    if numbers != {str(models.index(answer.model))} or model not in (answer.model, answer.alias):
        raise BenchmarkError(f"{model} was answered by {answer.model} with labels of {numbers}")
    return answer.model


@contextmanager
def callers(
    cluster: Cluster, models: Sequence[str], number: int, alias: str | None = None
) -> Iterator[Callable[[], int]]:
    """Classify photos all the time, by the alias or all models in turn; gives the answers so far.

    Raises what `ask` raises.
    """
    done, answers = threading.Event(), [0] * number

    def call(caller: int) -> None:
        order = random.Random(caller).sample(models, len(models))
        with Client(cluster.url, KEY) as client:
            for model in cycle(order):
                if done.is_set():
                    return
                ask(client, models, alias or model)
                answers[caller] += 1

    with ThreadPoolExecutor(number) as pool:
        calls = [pool.submit(call, caller) for caller in range(number)]
        try:
            yield lambda: sum(answers)
        finally:
            done.set()
        for each in calls:
            each.result(120)


def predictions_per_second(cluster: Cluster, models: Sequence[str], apis: int) -> float:
    """Let callers ask so many API processes, which have slow towers. Raises what `ask` raises."""
    cluster.start(apis=apis)
    with callers(cluster, models, CALLERS * apis) as answered:
        wait_until(lambda: answered() > 2 * CALLERS * apis, 120, "predictions")
        first, start = answered(), time.monotonic()
        time.sleep(_SECONDS)
        return (answered() - first) / (time.monotonic() - start)
