"""The predictions of a finished job over HTTP, by label and result."""

from __future__ import annotations

import json
from typing import Any

from fastapi.testclient import TestClient

from app.kit.context import Context
from tests.integration.conftest import post_job
from tests.integration.corrections import finished
from tests.integration.databases import sqlite_first
from tests.integration.jobs import claim, files_in, make_model, problem

pytestmark = sqlite_first


def test_predictions_by_label_and_result(client: TestClient, live: Context) -> None:
    job = post_job(client)
    url = f"/jobs/{job['id']}/predictions"
    problem(client.get(url), 409, "job_not_finished")
    lease = claim(live, job["id"])
    lease.start_running({"sha256": "f" * 64, "images": 8, "classes": ["cat", "dog"]})
    model = make_model(job["id"])
    keys = {kind: f"{kind}s/{model.id}.json" for kind in ("audit", "prediction")}
    rows = [("cat", "cat"), ("cat", "dog"), ("dog", "dog"), ("dog", "cat"), ("cat", "dog")]
    entries = [
        {"file": f"{i}.png", "label": label, "predicted": predicted, "score": 0.5}
        for i, (label, predicted) in enumerate(rows)
    ]
    document = {"measured_on": "test", "labels": "clean", "served": "tuned", "images": 5}
    stored = json.dumps(document | {"entries": entries}).encode()
    live.storage.put_bytes(keys["prediction"], stored)
    change = {"images": 5, "left_out": 0, "difference": 0.1, "difference_interval": [0, 0.2]}
    change |= {"p_value": 0.5, "gained": ["1.png"], "lost": ["2.png"], "verdict": "Better."}
    side = {"accuracy": 0.4, "accuracy_interval": [0.1, 0.8]}
    change |= {"before": side, "after": side, "noise_rate_before": None, "noise_rate_after": None}
    lease.succeed(
        model,
        config={},
        metrics={},
        audit_key=keys["audit"],
        predictions_key=keys["prediction"],
        change=change,
    )
    shown = client.get(f"/jobs/{job['id']}").json()
    assert shown["change"] == change
    assert shown["links"]["predictions"] == url
    (listed,) = client.get("/jobs").json()["data"]
    assert listed["change"] == change | {"gained": [], "lost": []}

    def files(**wanted: Any) -> list[str]:
        found, after = [], ""
        while after is not None:
            page = client.get(url, params=wanted | {"limit": 2, "after": after}).json()
            assert document.items() <= page.items()
            found += [entry["file"] for entry in page["entries"]]
            after = page["next"]
        return found

    assert files() == [f"{i}.png" for i in range(5)]
    assert files(label="cat", predicted="dog") == ["1.png", "4.png"]
    assert files(right=True) == ["0.png", "2.png"]
    assert files(right=False, label="dog") == ["3.png"]
    assert files(label="fox") == []
    problem(client.get(url, params={"after": "1"}), 422, "invalid_request")
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    assert files_in(live).isdisjoint(keys.values())
    other = finished(client, live)  # as an earlier version left it
    problem(client.get(f"/jobs/{other['id']}/predictions"), 409, "no_predictions")
