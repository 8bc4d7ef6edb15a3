"""`dspt models`, `datasets`, `batches` and `webhooks` against the real API."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from dspt_client import Client
from PIL import Image

from app.batches.lease import BatchLease
from app.kit import storage_keys
from app.kit.context import Context
from app.tables.models import Model
from tests.acceptance.photos import encoded
from tests.integration.cli.calls import add_model, document, dspt
from tests.integration.conftest import zip_of
from tests.integration.jobs import add_job, make_model
from tests.receiver import receiver
from tests.services import wait_until


def test_a_batch_from_a_flat_folder(context: Context, tmp_path: Path) -> None:
    for job in document("jobs", "list", "--limit", "100"):  # else their turn comes first
        if job["status"] == "queued":
            dspt("jobs", "cancel", job["id"])
    model = make_model("")
    model.job_id = None
    with context.database.write() as session:
        session.add(model)
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "1.png").write_bytes(encoded(Image.new("RGB", (8, 8))))
    (tmp_path / "flat" / "link.png").symlink_to(tmp_path / "elsewhere.png")
    sent = dspt("batches", "submit", model.id, tmp_path / "flat", "--name", "new ones", "--json")
    assert "warning: not sent, because they lead out of" in sent.stderr
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "1.png").symlink_to(tmp_path / "elsewhere.png")
    refused = dspt("batches", "submit", model.id, tmp_path / "links", ends=2)
    assert "warning: not sent, because they lead out of" in refused.stderr
    made = json.loads(sent.stdout)
    assert (made["status"], made["filename"]) == ("queued", "flat.zip")
    assert "new ones" in dspt("batches", "list").stdout
    assert document("batches", "cancel", "new ones")["status"] == "cancelled"
    assert document("batches", "retry", made["id"])["status"] == "queued"
    lease = BatchLease.claim_next(context, "worker")
    assert lease is not None
    lease.opened(1)
    lease.store(0, [{"file": "1.png", "label": "cat", "score": 0.5}])
    lease.succeed()
    assert "1 of 1" in dspt("batches", "show", made["id"][:-1]).stdout
    table = tmp_path / "a.csv"
    dspt("batches", "results", "new ones", "--format", "csv", "--out", table)
    assert table.read_text().splitlines()[1] == "1.png,cat,0.5,,"
    with Client() as client:
        assert client.batches.wait(made["id"]).status == "succeeded"
        assert [each.label for each in client.batches.results(made["id"])] == ["cat"]
    assert document("batches", "delete", "new ones") == {"batch": made["id"], "deleted": True}


def test_webhooks_are_added_listed_replayed_and_deleted(context: Context) -> None:
    with receiver() as received:
        received.statuses.append(410)
        added = document("webhooks", "add", received.url, "--event", "job.cancelled")
        job_id = add_job(context)
        dspt("jobs", "cancel", job_id)
        with Client() as client:
            wait_until(lambda: client.webhooks.get(added["id"]).disabled_at, 60, "410")
        assert "Gone" in dspt("webhooks", "list").stdout
        [failed] = document("webhooks", "deliveries", added["id"], "--status", "failed")
        assert (failed["response_status"], failed["event"]["data"]["id"]) == (410, job_id)
        assert "answered 410" in dspt("webhooks", "deliveries", added["id"]).stdout
        assert document("webhooks", "enable", added["id"])["failures"] == 0
        replayed = document("webhooks", "replay", added["id"], failed["id"])
        assert replayed["status"] == "pending"
        wait_until(lambda: len(received.requests) == 2, 60, "the replay")
        assert document("webhooks", "delete", added["id"]) == {
            "webhook": added["id"],
            "deleted": True,
        }
    created, secret = dspt("webhooks", "add", "https://host.invalid/").stdout.splitlines()
    assert secret.startswith("whsec_")
    dspt("webhooks", "delete", created.split()[1].rstrip("."))


def test_data_sets_are_uploaded_listed_looked_at_and_deleted(
    context: Context, tmp_path: Path
) -> None:
    for name in ("train/cat/1.png", "train/dog/1.png", "test/dog/2.png"):
        (tmp_path / "zoo" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "zoo" / name).write_bytes(encoded(Image.new("RGB", (400, 300))))
    made = document("datasets", "upload", tmp_path / "zoo")
    assert (made["filename"], made["images"]) == ("zoo.zip", 3)
    assert made["id"] in [each["id"] for each in document("datasets", "list")]
    assert "zoo.zip" in dspt("datasets", "list").stdout
    for text in ("zoo.zip", made["id"][:-1], made["id"]):
        assert document("datasets", "show", text) == made
    assert "dog" in dspt("datasets", "show", "zoo.zip").stdout
    dogs = document("datasets", "images", "zoo.zip", "--label", "dog")
    assert [photo["file"] for photo in dogs] == ["test/dog/2.png", "train/dog/1.png"]
    assert "test/dog/2.png" in dspt("datasets", "images", "zoo.zip", "--split", "test").stdout
    with Client() as client:
        data = client.datasets.image(made["id"], dogs[0]["number"], size="192")
    with Image.open(io.BytesIO(data)) as thumbnail:
        assert thumbnail.size == (192, 144)
    job = document("jobs", "submit", made["id"])
    assert "Delete those jobs first" in dspt("datasets", "delete", "zoo.zip", ends=1).stderr
    dspt("jobs", "cancel", job["id"])
    dspt("jobs", "delete", job["id"])
    assert document("datasets", "delete", "zoo.zip") == {"dataset": made["id"], "deleted": True}
    assert "There is no data set 'zoo.zip'" in dspt("datasets", "show", "zoo.zip", ends=2).stderr
    not_one = tmp_path / "one.zip"
    not_one.write_bytes(zip_of({"cat/1.png": b""}))
    assert "two" in dspt("datasets", "upload", not_one, ends=2).stderr


@pytest.mark.parametrize("command", [("jobs", "submit"), ("datasets", "upload")])
@pytest.mark.parametrize("zipped", [False, True])
def test_folders_that_a_job_refuses_are_not_sent(
    context: Context, tmp_path: Path, command: tuple[str, str], zipped: bool
) -> None:
    files = {f"{farm}/{name}/1.png": b"x" for farm in ("farm", "zoo") for name in ("cat", "dog")}
    photos = tmp_path / ("two.zip" if zipped else "two")
    if zipped:
        photos.write_bytes(zip_of(files))
    for name in () if zipped else files:
        (photos / name).parent.mkdir(parents=True)
        (photos / name).write_bytes(b"x")
    before = document("datasets", "list"), document("jobs", "list")
    said = dspt(*command, photos, ends=2).stderr
    assert said.startswith(f"error: {photos}: farm/ and zoo/ contain the same subfolders (cat and")
    assert (document("datasets", "list"), document("jobs", "list")) == before


def test_a_model_is_found_by_a_beginning_of_its_id_by_name_or_by_alias(context: Context) -> None:
    model_id = add_model(context)
    with context.database.write() as session:
        session.get_one(Model, model_id).name = "Winter; two"
    dspt("models", "promote", "Winter; two", "--alias", "winter")
    for text in ("Winter; two", model_id[:-1], "winter", model_id):
        assert document("models", "show", text)["id"] == model_id
    assert "There is no model 'summer'" in dspt("models", "show", "summer", ends=2).stderr
    dspt("models", "unalias", "winter")
    assert document("models", "delete", "Winter; two") == {"model": model_id, "deleted": True}


def test_models_are_listed_shown_taken_out_and_deleted(context: Context, tmp_path: Path) -> None:
    model_id, content = add_model(context), b"a classifier"
    context.storage.put_bytes(storage_keys.model(model_id), content)
    assert document("models", "list", "--limit", "1")[0]["object"] == "model"
    assert model_id in dspt("models", "list", "--limit", "1000").stdout
    assert document("models", "show", model_id)["classes"] == ["cat", "dog"]
    assert "cat, dog" in dspt("models", "show", model_id).stdout
    # Its digest is made up, so what comes is not what was promised.
    damaged = dspt("models", "export", model_id, "--out", tmp_path, ends=1)
    assert "was damaged" in damaged.stderr
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(content)
    assert "error: " in dspt("models", "import", bad, ends=1).stderr
    assert document("models", "delete", model_id) == {"model": model_id, "deleted": True}
    assert "There is no model" in dspt("models", "show", model_id, ends=1).stderr


def test_an_alias_is_promoted_rolled_back_and_removed(context: Context) -> None:
    first, second = (add_model(context) for _ in range(2))
    assert "Create one with dspt models promote" in dspt("models", "aliases").stdout
    assert f"production now points to {first}." in dspt("models", "promote", first).stdout
    assert document("models", "promote", second)["aliases"] == ["production"]
    dspt("models", "promote", second, "--alias", "staging")
    assert {a["name"]: a["model_id"] for a in document("models", "aliases")} == {
        "production": second,
        "staging": second,
    }
    assert f"production points to {first} again." in dspt("models", "rollback").stdout
    refused = dspt("models", "rollback", "production", ends=1)
    assert "has no previous model" in refused.stderr
    moves = document("models", "aliases", "production")["history"]
    assert [move["model_id"] for move in moves] == [first, second, first]
    shown = dspt("models", "aliases", "production", "--limit", "2").stdout
    assert "Moves of production; older ones are not shown" in shown
    assert second in shown
    assert "staging" in dspt("models", "aliases").stdout
    assert "in use by the alias 'production'" in dspt("models", "delete", first, ends=1).stderr
    assert document("models", "unalias", "production") == {"alias": "production", "deleted": True}
    assert "Removed the alias staging" in dspt("models", "unalias", "staging").stdout
    assert "There is no alias" in dspt("models", "aliases", "staging", ends=1).stderr
