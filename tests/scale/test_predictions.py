"""Predictions of thousands of models by API processes on several hosts."""

from __future__ import annotations

import os
import time
from statistics import median, quantiles

import pytest

from benchmarks.scale.cluster import Cluster
from benchmarks.scale.predictions import (
    TOWER_SECONDS,
    ask,
    callers,
    import_models,
    predictions_per_second,
    slow_towers,
)
from tests.services import wait_until

pytestmark = pytest.mark.slow

MODELS, REPLICAS = 1000, 3


def test_replicas_share_the_predictions_of_all_models(hosts: Cluster) -> None:
    """Three replicas do nearly three times the work of one, and every answer is its model's own."""
    hosts.start(apis=REPLICAS)
    models = import_models(hosts, MODELS)

    def seconds(model: str) -> float:
        start = time.perf_counter()
        ask(hosts.client, models, model)
        return time.perf_counter() - start

    with slow_towers(hosts):
        cold = [seconds(model) for model in models[:200]]
        warm = [seconds(models[0]) for _ in range(20)]
        one, all_of_them = (predictions_per_second(hosts, models, n) for n in (1, REPLICAS))
        hosts.start(apis=REPLICAS)
    found = (
        f"{one:.1f} predictions a second by one, {all_of_them:.1f} by {REPLICAS}; cold "
        f"{median(cold):.3f} s, p95 {quantiles(cold, n=20)[-1]:.3f} s, warm {median(warm):.3f} s "
        f"(each with {TOWER_SECONDS} s of the tower); load average {os.getloadavg()[0]:.1f}"
    )
    print(found)  # noqa: T201 - figures of `make test-scale -s`
    assert all_of_them >= 0.9 * REPLICAS * one, found


def test_an_alias_that_moves_is_answered_by_one_model_each_time(hosts: Cluster) -> None:
    hosts.start(apis=REPLICAS)
    models = import_models(hosts, 2)
    hosts.client.aliases.promote(models[0], "moving")
    with callers(hosts, models, 6, alias="moving") as answered:
        for model in [*models, *models, *models]:
            hosts.client.aliases.promote(model, "moving")
            reached = answered() + 12
            wait_until(lambda r=reached: answered() > r, 120, "predictions")
            assert ask(hosts.client, models, "moving") == model
