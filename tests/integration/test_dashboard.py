"""The dashboard and the alerts ask for nothing that is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import yaml
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from tests.integration.databases import on_sqlite
from worker.metrics import WorkerMetrics

DOCKER = Path(__file__).parents[2] / "docker"
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "dspt.json").read_text())
#: What each kind of metric is shown as.
SUFFIXES = {
    "counter": ["_total"],
    "gauge": [""],
    "histogram": ["_bucket", "_sum", "_count"],
}


def expressions() -> list[str]:
    """PromQL of all panels and alerts."""
    rules = yaml.safe_load((DOCKER / "prometheus" / "rules.yml").read_text())
    return [
        *(target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])),
        *(rule["expr"] for group in rules["groups"] for rule in group["rules"]),
    ]


def names(registry: CollectorRegistry) -> set[str]:
    return {
        family.name + suffix for family in registry.collect() for suffix in SUFFIXES[family.type]
    }


def asked_for(texts: Iterable[str]) -> set[str]:
    """Names of metrics; those of labels have other beginnings."""
    return {name for text in texts for name in re.findall(r"\b(?:dspt|process)_[a-z_]+", text)}


@on_sqlite
def test_what_is_asked_for_is_there(client: TestClient) -> None:
    api = names(client.app.state.registry)  # type: ignore[attr-defined]
    registry = CollectorRegistry()
    WorkerMetrics(registry)
    worker = names(registry)
    found = asked_for(expressions())
    assert found - api - worker == set()
    # Both are asked for a lot: nothing of this holds only because nothing was found.
    assert len(found & api) > 10
    assert len(found & worker) > 6


def test_the_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_provisioned_source_is_the_one_that_the_panels_ask() -> None:
    folder = DOCKER / "grafana" / "provisioning" / "datasources"
    [source] = yaml.safe_load((folder / "prometheus.yml").read_text())["datasources"]
    asked = {p["datasource"]["uid"] for p in DASHBOARD["panels"] if "datasource" in p}
    assert asked == {source["uid"]}
