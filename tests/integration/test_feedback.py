"""Captured predictions: kept, listed, labelled, chosen and deleted. Nothing here needs torch."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import update

from app.datasets import repository
from app.datasets import service as dataset_service
from app.feedback import capture
from app.feedback.capture import Captured
from app.gc.findings import Kind
from app.gc.service import collect
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.http.errors import TooManyRequests
from app.models.resolve import ResolvedModel
from app.tables.captures import CapturedPrediction
from app.tables.datasets import Dataset
from dspt.data import load_dataset
from tests.integration.conftest import zip_of
from tests.integration.jobs import claim, files_in, make_model, problem


def photo() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (400, 200), (200, 0, 0)).save(data, "PNG")
    return data.getvalue()


def add_model(context: Context) -> str:
    """Add a model with the classes cat and dog, without an artefact."""
    model = make_model("")
    model.job_id = None
    with context.database.write() as session:
        session.add(model)
    return model.id


def keep(context: Context, model_id: str, margins: list[float], data: bytes = b"x") -> list[str]:
    """Capture one prediction per margin; their features are all different."""
    model = ResolvedModel(model_id, "local", "", None)
    rows = np.eye(max(2, len(margins)), dtype=np.float16)
    return capture.store(
        context,
        model,
        [
            Captured(f"{i}.png", data, "cat", (1 + margin) / 2, margin, rows[i])
            for i, margin in enumerate(margins)
        ],
    )


def listed(client: TestClient, model: str, **query: Any) -> list[str]:
    response = client.get(f"/models/{model}/predictions", params=query)
    assert response.status_code == 200, response.text
    return [each["id"] for each in response.json()["data"]]


def photos_in(context: Context) -> set[str]:
    return {name for name in files_in(context) if name.startswith("captures/")}


def test_feedback_is_idempotent_and_the_newest_counts(client: TestClient, live: Context) -> None:
    model = add_model(live)
    (kept,) = keep(live, model, [0.2], photo())
    before = client.get(f"/predictions/{kept}").json()
    assert (before["predicted"], before["score"], before["label"]) == ("cat", 0.6, None)
    assert before["expires_at"] > before["created_at"]

    def give(label: str) -> Any:
        return client.post("/feedback", json={"prediction": kept, "label": label})

    first, again = give("dog").json(), give("dog").json()
    assert first["label"] == "dog"
    assert again == first
    assert give("red panda").json()["label"] == "red panda"
    assert client.get(f"/predictions/{kept}").json()["label"] == "red panda"
    for wrong in ("Cat", "cat-", " dog", "a/b", "red\npanda", "7"):
        problem(give(wrong), 422, "invalid_class")
    problem(give(""), 422, "invalid_request")
    missing = client.post("/feedback", json={"prediction": "prd_" + "0" * 26, "label": "cat"})
    problem(missing, 404, "prediction_not_found")
    assert client.get(f"/predictions/{kept}").json()["label"] == "red panda"


def test_a_captured_photo_is_shown_encoded_anew(client: TestClient, live: Context) -> None:
    model = add_model(live)
    kept, broken = keep(live, model, [0.2], photo()) + keep(live, model, [0.2], b"no image")
    shown = client.get(f"/predictions/{kept}/image", params={"size": "192"})
    assert shown.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(shown.content)).size == (192, 96)
    problem(client.get(f"/predictions/{broken}/image"), 422, "unreadable_photo")
    live.storage.delete(storage_keys.capture(broken))
    problem(client.get(f"/predictions/{broken}/image"), 404, "photo_not_found")
    assert client.delete(f"/predictions/{kept}").status_code == 204
    problem(client.get(f"/predictions/{kept}"), 404, "prediction_not_found")
    assert storage_keys.capture(kept) not in photos_in(live)


def test_pages_by_time_and_by_certainty(client: TestClient, live: Context) -> None:
    model = add_model(live)
    kept = keep(live, model, [0.5, 0.1, 0.1, 0.9])
    by_margin = [*sorted(kept[1:3]), kept[0], kept[3]]
    assert listed(client, model) == sorted(kept, reverse=True)
    for order, expected in (("newest", sorted(kept, reverse=True)), ("uncertain", by_margin)):
        found, after = [], None
        while True:
            query: dict[str, Any] = {"order": order, "limit": 1}
            query |= {"after": after} if after else {}
            page = client.get(f"/models/{model}/predictions", params=query).json()
            found += [each["id"] for each in page["data"]]
            after = page["next"]
            if after is None:
                break
        assert found == expected
    client.post("/feedback", json={"prediction": by_margin[0], "label": "cat"})
    assert listed(client, model, order="uncertain", labelled=False) == by_margin[1:]
    assert listed(client, model, labelled=True) == by_margin[:1]
    client.delete(f"/predictions/{by_margin[1]}")
    query = {"order": "uncertain", "after": by_margin[1]}
    lost = client.get(f"/models/{model}/predictions", params=query)
    problem(lost, 422, "unknown_cursor")
    assert listed(client, add_model(live)) == []


def test_the_most_instructive_differ_from_each_other_and_from_those_with_feedback(
    client: TestClient, live: Context
) -> None:
    model = ResolvedModel(add_model(live), "local", "", None)
    one, other, certain = np.eye(3, dtype=np.float16)

    def kept(margin: float, features: Any) -> str:
        captured = Captured("a.png", b"x", "cat", 0.5, margin, features)
        return capture.store(live, model, [captured])[0]

    twins = [kept(0.0, one), kept(0.01, one)]
    unlike, sure = kept(0.2, other), kept(0.9, certain)
    assert listed(client, model.id, order="instructive", limit=3) == [twins[0], unlike, sure]
    client.post("/feedback", json={"prediction": twins[0], "label": "cat"})
    assert listed(client, model.id, order="instructive") == [unlike, sure, twins[1]]
    assert listed(client, model.id, order="instructive", labelled=True) == []
    query = {"order": "instructive", "after": unlike}
    second = client.get(f"/models/{model.id}/predictions", params=query)
    problem(second, 422, "invalid_request")


def test_photos_with_feedback_make_a_version_and_a_job(client: TestClient, live: Context) -> None:
    files = {"dataset": ("pets.zip", zip_of({f"{n}.png": photo() for n in ("cat/1", "dog/1")}))}
    job = client.post("/jobs", files=files, data={"config": '{"epochs": 7}'}).json()
    lease = claim(live, job["id"])
    lease.start_running({"images": 2, "classes": ["cat", "dog"]})
    model = make_model(job["id"])
    lease.succeed(model, config=job["config"], metrics={}, audit_key="audits/a.json")

    def retrain(key: str = "", **body: Any) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        return client.post(f"/models/{model.id}/retrain", json=body, headers=headers)

    problem(retrain(), 409, "no_feedback")
    kept = keep(live, model.id, [0.1, 0.2, 0.3, 0.4], photo())
    for prediction, label in zip(kept, ("dog", "red panda"), strict=False):
        client.post("/feedback", json={"prediction": prediction, "label": label})
    problem(retrain(config={"epochs": 0}), 422, "invalid_config")
    problem(retrain(rounds=1), 422, "invalid_request")
    client.post("/feedback", json={"prediction": kept[3], "label": "red-panda"})
    problem(retrain(), 422, "invalid_class")  # the job would refuse two classes of the same words
    client.delete(f"/predictions/{kept[3]}")
    answer = retrain(config={"seed": 5})
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/jobs/{made['id']}"
    assert (made["name"], made["links"]["corrected_from"]) == ("a", f"/jobs/{job['id']}")
    assert (made["config"]["epochs"], made["config"]["seed"]) == (7, 5)

    # What a worker reads: the old photos, and those with feedback, whose labels are confirmed.
    with live.database.read() as session:
        dataset = session.get_one(Dataset, made["dataset"]["id"])
        zips = repository.zips_of(session, dataset)
    confirmed = dataset_service.corrections_of(live, dataset)
    with (
        dataset_service.local_copies(live, zips) as (first, *added),
        load_dataset(first, added=added) as opened,
    ):
        read = confirmed.apply(opened)
    labels = {item.path: read.classes[item.label] for item in read.items}
    new = {f"images/{kept[0]}.jpg": "dog", f"images/{kept[1]}.jpg": "red panda"}
    assert labels == {"cat/1.png": "cat", "dog/1.png": "dog"} | new
    assert confirmed.confirmed == new.keys()
    assert dataset.version > 1

    # The same feedback again is the same version; a photo that is gone is not left out in silence.
    again = retrain("k").json()
    assert again["dataset"]["id"] == made["dataset"]["id"]
    client.post("/feedback", json={"prediction": kept[2], "label": "cat"})
    assert retrain("k").json()["id"] == again["id"]  # the answer was lost, and more feedback came
    problem(retrain("k", name="another"), 409, "idempotency_key_reused")
    live.storage.delete(storage_keys.capture(kept[2]))
    problem(retrain(), 404, "photo_not_found")
    problem(client.post(f"/models/{add_model(live)}/retrain", json={}), 409, "model_without_job")


def test_number_age_quota_and_model_end_a_capture(client: TestClient, live: Context) -> None:
    model, other = add_model(live), add_model(live)
    settings = live.settings.model_copy(update={"max_captured_per_model": 3})
    few = Context(settings, live.database, live.storage)
    kept = keep(few, model, [0.1, 0.2, 0.3])
    client.post("/feedback", json={"prediction": kept[0], "label": "dog"})
    more = keep(few, model, [0.4, 0.5])
    assert {*listed(client, model)} == {kept[0], *more}  # with feedback: last
    stays = keep(live, other, [0.1])

    tight = live.settings.model_copy(update={"max_stored_bytes_per_owner": 20})
    with pytest.raises(TooManyRequests):
        keep(Context(tight, live.database, live.storage), model, [0.1], bytes(50))
    assert len(photos_in(live)) == 4

    with live.database.write() as session:
        long_ago = database_now(session) - timedelta(days=live.settings.keep_captured_days + 1)
        old = update(CapturedPrediction).where(CapturedPrediction.id == more[0])
        session.execute(old.values(created_at=long_ago))
    for dry_run, counts in ((True, [1]), (False, [1]), (False, [])):
        found = [f for f in collect(live, dry_run=dry_run) if f.kind is Kind.CAPTURE]
        assert [f.count for f in found] == counts
    assert {*listed(client, model)} == {kept[0], more[1]}

    assert client.delete(f"/models/{model}").status_code == 204
    assert photos_in(live) == {storage_keys.capture(stays[0])}
    problem(client.get(f"/predictions/{kept[0]}"), 404, "prediction_not_found")
    assert listed(client, other) == stays
