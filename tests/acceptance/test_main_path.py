"""A zip of labelled photos in, a tuned classifier out, predictions served."""

from __future__ import annotations

import csv
import hashlib
import io
from datetime import datetime
from itertools import pairwise

import httpx
import pytest
from safetensors.numpy import load

from tests.acceptance.photos import COLOURS, good_zip, photo
from tests.acceptance.service import QUICK, Json, post_job, stream, until

CLASSES = sorted(COLOURS)


def test_a_new_job_is_accepted_and_can_be_followed(service: httpx.Client) -> None:
    response = post_job(service, good_zip())
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/jobs/{job['id']}" == job["links"]["self"]
    assert job["object"] == "job"
    assert job["status"] == "queued"
    assert job["name"] == "photos"
    assert job["attempt"] == 0
    assert job["error"] is None
    assert job["model_id"] is None
    assert job["dataset"]["sha256"] == hashlib.sha256(good_zip()).hexdigest()

    *_, last = stream(service, job["id"])
    assert last["event"] == "status"
    assert last["data"]["data"]["status"] == "succeeded"
    assert until(service, job["id"], "succeeded", seconds=0)["progress"]["fraction"] == 1.0


def test_the_view_of_a_succeeded_job(tuned: Json) -> None:
    assert tuned["attempt"] == 1
    assert tuned["error"] is None
    # Plain colours with noise: zero-shot may guess
    assert all(text.startswith("Zero-shot is no better than") for text in tuned["warnings"])
    assert tuned["progress"]["eta_seconds"] is None
    times = [tuned[key] for key in ("created_at", "started_at", "finished_at")]
    assert all(time.endswith("Z") for time in times)
    assert sorted(times, key=datetime.fromisoformat) == times

    dataset = tuned["dataset"]
    assert dataset["images"] == 4 * 6 + 4 * 3
    assert dataset["classes"] == CLASSES
    assert dataset["rejected"] == []
    assert dataset["split"] == {"train": 24, "val": 0, "test": 12}

    config = tuned["config"]
    assert config["epochs"] == QUICK["epochs"]
    assert config["loss"] == "dspt"
    assert config["backbone"] == "builtin"
    assert config["n_ctx"] == 4  # "a photo of a"

    links = tuned["links"]
    assert links["model"] == f"/models/{tuned['model_id']}"
    assert "cancel" not in links


def test_metrics_are_measured_on_the_test_folder(tuned: Json) -> None:
    metrics = tuned["metrics"]
    assert metrics["measured_on"] == "test"
    assert metrics["labels"] == "clean"
    assert metrics["served"] in ("tuned", "zero_shot")
    assert metrics["why"]
    for name in ("zero_shot", "tuned"):
        result = metrics[name]
        assert result["images"] == 12
        confusion = result["confusion"]
        right = sum(confusion[i][i] for i in range(4))
        assert sum(map(sum, confusion)) == 12
        assert result["accuracy"] == pytest.approx(right / 12)
        assert 0 <= result["calibration_error"] <= 1


def test_events_as_pages_of_a_list(service: httpx.Client, tuned: Json) -> None:
    url = f"/jobs/{tuned['id']}/events"
    whole = service.get(url, params={"limit": 1000}).json()
    assert whole["object"] == "list"
    assert whole["has_more"] is False
    assert whole["next"] is None
    events = whole["data"]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))

    pages, after = [], 0
    while True:
        page = service.get(url, params={"limit": 3, "after": after}).json()
        pages += page["data"]
        if not page["has_more"]:
            break
        after = page["next"]
    assert pages == events


def test_events_report_states_stages_and_epochs(service: httpx.Client, tuned: Json) -> None:
    events = service.get(f"/jobs/{tuned['id']}/events", params={"limit": 1000}).json()["data"]
    by_type = {
        kind: [e["data"] for e in events if e["type"] == kind]
        for kind in ("status", "progress", "metrics")
    }
    states = [data["status"] for data in by_type["status"]]
    assert states == ["queued", "validating", "running", "succeeded"]

    fractions = [data["fraction"] for data in by_type["progress"]]
    assert all(a <= b for a, b in pairwise(fractions))
    assert {data["stage"] for data in by_type["progress"]} >= {"validating", "encoding", "tuning"}

    assert [data["epoch"] for data in by_type["metrics"]] == [1, 2]
    for data in by_type["metrics"]:
        assert 0 <= data["loss"] <= 1
        assert 0 <= data["train_accuracy"] <= 1
        assert 0 <= data["suppressed"] <= 1
        assert data["lr"] >= 0


def test_events_as_a_stream_are_the_same(service: httpx.Client, tuned: Json) -> None:
    listed = service.get(f"/jobs/{tuned['id']}/events", params={"limit": 1000}).json()["data"]
    streamed = list(stream(service, tuned["id"]))
    assert [event["data"] for event in streamed] == listed
    assert [(event["id"], event["event"]) for event in streamed] == [
        (event["id"], event["type"]) for event in listed
    ]


def test_a_stream_continues_after_the_last_event(service: httpx.Client, tuned: Json) -> None:
    whole = list(stream(service, tuned["id"]))
    assert list(stream(service, tuned["id"], last_event_id=2)) == whole[2:]
    assert list(stream(service, tuned["id"], last_event_id=len(whole))) == []


def test_the_audit_ranks_every_training_file(service: httpx.Client, tuned: Json) -> None:
    audit = service.get(f"/jobs/{tuned['id']}/audit").json()
    assert audit["object"] == "audit"
    assert audit["job_id"] == tuned["id"]
    assert isinstance(audit["can_tell"], bool)
    assert audit["why"]
    entries = audit["entries"]
    assert {entry["file"] for entry in entries} == {
        f"train/{name}/{i}.png" for name in CLASSES for i in range(6)
    }
    scores = [entry["score"] for entry in entries]
    assert scores == sorted(scores, reverse=True)
    for entry in entries:
        assert entry["given"] == entry["file"].split("/")[1]
        assert entry["suggested"] in CLASSES
        assert entry["suggested"] != entry["given"]
        assert all(0 <= entry[key] <= 1 for key in ("score", "p_tuned", "p_zero_shot"))
    assert audit["suspects"] == sum(entry["suspect"] for entry in entries)


def test_the_audit_as_csv_says_the_same(service: httpx.Client, tuned: Json) -> None:
    url = f"/jobs/{tuned['id']}/audit"
    entries = service.get(url).json()["entries"]
    response = service.get(url, params={"format": "csv"})
    assert response.headers["content-type"].startswith("text/csv")
    assert "attachment" in response.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(response.text)))
    columns = [
        "file",
        "given",
        "suggested",
        "correct_label",
        "score",
        "p_tuned",
        "p_zero_shot",
        "suppression",
        "suspect",
        "held_out",
        "group",
        "kept",
    ]
    assert list(rows[0]) == columns
    assert [row["file"] for row in rows] == [entry["file"] for entry in entries]
    assert [float(row["score"]) for row in rows] == [entry["score"] for entry in entries]
    assert {row["suspect"] for row in rows} <= {"true", "false"}


def test_the_model_is_listed_and_described(service: httpx.Client, tuned: Json) -> None:
    model = service.get(tuned["links"]["model"]).json()
    assert model["id"] == tuned["model_id"]
    assert model["object"] == "model"
    assert model["job_id"] == tuned["id"]
    assert model["classes"] == CLASSES
    assert model["backbone"] == "builtin"
    assert model["served"] == tuned["metrics"]["served"]
    assert model["dataset_sha256"] == tuned["dataset"]["content_sha256"]
    listed = service.get("/models", params={"limit": 100}).json()["data"]
    assert model["id"] in [each["id"] for each in listed]


def test_the_artefact_is_one_small_safetensors_file(service: httpx.Client, tuned: Json) -> None:
    model = service.get(tuned["links"]["model"]).json()
    response = service.get(tuned["links"]["artifact"])
    assert response.status_code == 200
    assert response.headers["etag"] == f'"{model["sha256"]}"'
    assert hashlib.sha256(response.content).hexdigest() == model["sha256"]
    assert len(response.content) == model["size_bytes"]
    assert len(response.content) < (16 + 8 * len(CLASSES)) << 10
    shapes = {name: tensor.shape for name, tensor in load(response.content).items()}
    assert (4, 256) in {shape[-2:] for shape in shapes.values()}, shapes


def test_the_model_card_describes_the_data_and_the_training(
    service: httpx.Client, tuned: Json
) -> None:
    link = service.get(tuned["links"]["model"]).json()["links"]["card"]
    card = service.get(link).json()
    assert card["source"] == "job"
    assert card["job"]["data"]["split"] == tuned["dataset"]["split"]
    assert len(card["epochs"]) == tuned["config"]["epochs"]
    served = next(each for each in card["results"] if each["classifier"] == card["served"])
    assert served["accuracy"] == tuned["metrics"][card["served"]]["accuracy"]
    text = service.get(link, params={"format": "markdown"}).text
    for title in ("Data", "Wrong labels", "Accuracy", "Training curves", "Limits"):
        assert f"\n## {title}\n" in text


def test_predictions_are_served(service: httpx.Client, tuned: Json) -> None:
    files = [
        ("images", (f"{name}.jpg", photo(name, 500, "JPEG"), "image/jpeg")) for name in CLASSES
    ]
    data = {"model": tuned["model_id"], "top_k": "3"}
    response = service.post("/predict", data=data, files=files)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["model"] == tuned["model_id"]
    assert answer["served"] == tuned["metrics"]["served"]
    assert [p["file"] for p in answer["predictions"]] == [f"{name}.jpg" for name in CLASSES]
    for prediction in answer["predictions"]:
        assert "error" not in prediction
        top = prediction["top"]
        assert len(top) == 3
        assert [t["score"] for t in top] == sorted((t["score"] for t in top), reverse=True)
        assert {t["label"] for t in top} < set(CLASSES)
        assert prediction["label"] == top[0]["label"]
        assert prediction["score"] == top[0]["score"]


def test_all_classes_together_have_probability_one(service: httpx.Client, tuned: Json) -> None:
    files = {"images": ("lime.png", photo("lime", 501))}
    data = {"model": tuned["model_id"], "top_k": "4"}
    [prediction] = service.post("/predict", data=data, files=files).json()["predictions"]
    assert {t["label"] for t in prediction["top"]} == set(CLASSES)
    assert sum(t["score"] for t in prediction["top"]) == pytest.approx(1, abs=1e-4)


def test_backbones_say_which_one_to_use_for_work(service: httpx.Client) -> None:
    answer = service.get("/backbones").json()
    by_name = {backbone["name"]: backbone for backbone in answer["data"]}
    assert by_name["builtin"]["weights"] == "present"
    assert by_name["builtin"]["embed_dim"] == 512
    assert by_name["ViT-B-16/openai"]["weights"] == "download"
    assert "ViT-B-16/openai" in answer["advice"]


def test_probes_and_documentation(service: httpx.Client) -> None:
    assert service.get("/health/live").json() == {"status": "live", "stuck_loops": []}
    ready = service.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"
    assert ready.json()["checks"]["workers"]["count"] == 1
    assert service.get("/docs").status_code == 200
    paths = service.get("/openapi.json").json()["paths"]
    assert {"/jobs", "/jobs/{job_id}/events", "/predict", "/models", "/backbones"} <= set(paths)
