"""What is made of finished classifiers over HTTP: classes by name, comparison."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from dspt_client import AsyncClient, Client
from dspt_client.schemas.status import Status
from sqlalchemy import delete

from app.comparisons.lease import ComparisonLease
from app.datasets import service as datasets
from app.kit.context import Context
from app.kit.settings import Settings
from app.tables.datasets import Dataset
from app.tables.jobs import Job
from app.tables.models import Model
from dspt.backbones import load_backbone
from dspt.backbones.base import Backbone
from dspt.classifier.linear import LinearClassifier
from dspt.cli import terminal
from dspt.config import TuneConfig
from dspt.features.store import FeatureStore
from dspt.labels.corrections import Corrections
from dspt.model.add_class import add_classes
from dspt.model.artifact import TunedModel, load_model, save_model
from tests.integration.conftest import zip_of
from tests.integration.jobs import bring_to, files_in, problem
from tests.integration.own_api import running
from tests.integration.test_client_cli import document, dspt
from tests.integration.test_predictions import photo, predict
from tests.unit.models import model_for
from worker.compare import Comparing
from worker.telemetry import Telemetry

METRICS = {
    "tuned": {"accuracy": 0.75},
    "blend": {"zero_shot": 0.1, "prompt": 0.1, "class_means": 3.0},
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Context]]:
    # Jobs here run without a worker, and must not be taken back.
    folder = tmp_path_factory.mktemp("releases")
    with running(Settings(data_dir=folder, heartbeat_seconds=1000)) as started:
        yield started


@pytest.fixture(scope="module")
def client(api: tuple[str, Context]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api[0], timeout=600) as opened:
        yield opened


@pytest.fixture
def shell(api: tuple[str, Context], monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands talk to this service."""
    monkeypatch.setenv("DSPT_URL", api[0])
    for console in (terminal.out, terminal.err):
        monkeypatch.setattr(console, "width", 200)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("builtin")


@pytest.fixture
def live(api: tuple[str, Context]) -> Context:
    return api[1]


def compare_next(context: Context) -> bool:
    """Work on the next comparison, as a worker does: jobs and batches here are not real."""
    lease = ComparisonLease.claim_next(context, "worker")
    if lease is None:
        return False
    with Telemetry().attempt("comparison", lease.row()) as attempt:
        Comparing(lease, lease.row(), attempt).run()
    return True


@contextmanager
def working(context: Context) -> Iterator[None]:
    """A worker on a thread of this process."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            if not compare_next(context):
                ended.wait(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def tuned(backbone: Backbone, **changes: Any) -> TunedModel:
    """A model with a blend of class means that are none."""
    model = model_for(backbone, **({"metrics": METRICS} | changes))
    classes = len(model.manifest.classes)
    matrix = torch.randn(classes, backbone.embed_dim, generator=torch.Generator().manual_seed(1))
    return dataclasses.replace(model, blend=LinearClassifier(matrix, torch.zeros(classes)))


def hand_in(client: httpx.Client, model: TunedModel, folder: Path, name: str = "pets") -> Any:
    path = folder / "model.safetensors"
    save_model(model, path)
    response = client.post(
        "/models", files={"artifact": (path.name, path.read_bytes())}, data={"name": name}
    )
    assert response.status_code == 201, response.text
    return response.json()


def add(client: httpx.Client, model_id: str, **classes: str | None) -> Any:
    return client.post(f"/models/{model_id}/classes", json={"classes": classes})


def test_a_class_is_added_by_its_name(
    client: httpx.Client, live: Context, backbone: Backbone, tmp_path: Path
) -> None:
    model = tuned(backbone)
    old = hand_in(client, model, tmp_path)
    response = add(client, old["id"], polar_bear=None, c17="coffee mug")
    assert response.status_code == 201, response.text
    new = response.json()
    assert response.headers["Location"] == new["links"]["self"] == f"/models/{new['id']}"
    assert new["classes"] == [*old["classes"], "polar_bear", "c17"]
    assert new["name"] == "pets + polar_bear, c17"
    assert new["job_id"] is None
    assert new["metrics"] == {
        "added_classes": ["polar_bear", "c17"],
        "before": METRICS,
        "blend": METRICS["blend"],
        "parent": {"id": old["id"], "sha256": old["sha256"]},
    }
    assert client.get(new["links"]["self"]).json() == new
    assert client.get(old["links"]["self"]).json() == old

    with live.storage.local_copy(f"models/{new['id']}.safetensors") as path:
        stored = load_model(path)
    expected = add_classes(model, {"polar_bear": None, "c17": "coffee mug"}, backbone)
    assert stored.blend is not None
    assert expected.blend is not None
    torch.testing.assert_close(stored.blend.matrix, expected.blend.matrix)
    assert stored.manifest.metrics == new["metrics"]
    answer = predict(client, new["id"], photo(1), top_k=20).json()["predictions"][0]
    assert {"polar_bear", "c17"} < {entry["label"] for entry in answer["top"]}


def test_errors_of_new_classes_are_reported(
    client: httpx.Client, live: Context, backbone: Backbone, tmp_path: Path
) -> None:
    model_id = hand_in(client, tuned(backbone), tmp_path)["id"]
    before = files_in(live)
    found = problem(add(client, model_id, Class_1=None, CLASS_2=None), 422, "class_exists")
    assert [item["param"] for item in found["errors"]] == ["Class_1", "CLASS_2"]
    problem(add(client, model_id, whale=", ".join("a" * 66)), 422, "prompt_too_long")
    problem(add(client, model_id, whale="wh\u202eale"), 422, "invalid_class_words")
    response = client.post(
        f"/models/{model_id}/classes", content=b'{"classes": {"a\\ud800": null}}'
    )
    problem(response, 422, "invalid_request")
    problem(add(client, model_id), 422, "invalid_request")
    problem(add(client, "mdl_00000000000000000000000000", whale=None), 404, "model_not_found")
    assert files_in(live) == before


def test_models_that_take_no_classes(
    client: httpx.Client, live: Context, backbone: Backbone, tmp_path: Path
) -> None:
    config = TuneConfig(n_ctx=4, class_specific_context=True)
    context = torch.zeros(10, 4, backbone.text_tower.width)
    specific = dataclasses.replace(model_for(backbone, config=config), context=context)
    gone = hand_in(client, tuned(backbone), tmp_path)["id"]
    live.storage.delete(f"models/{gone}.safetensors")
    cases = [
        (hand_in(client, specific, tmp_path)["id"], 422, "invalid_config"),
        (hand_in(client, tuned(backbone, metrics={}), tmp_path)["id"], 409, "invalid_artifact"),
        (
            hand_in(client, tuned(backbone, backbone_digest="0" * 64), tmp_path)["id"],
            409,
            "backbone_mismatch",
        ),
        (gone, 404, "artifact_not_found"),
    ]
    for model_id, status, code in cases:
        problem(add(client, model_id, whale=None), status, code)


def test_a_class_is_added_from_python_and_the_shell(
    api: tuple[str, Context], shell: None, client: httpx.Client, backbone: Backbone, tmp_path: Path
) -> None:
    model_id = hand_in(client, tuned(backbone), tmp_path)["id"]
    with Client(api[0]) as blocking:
        assert blocking.models.add_classes(model_id, "whale").classes[10:] == ["whale"]
        found = blocking.models.add_classes(model_id, ["whale", "owl"])
        assert found.classes[10:] == ["whale", "owl"]

    async def added() -> list[str]:
        async with AsyncClient(api[0]) as opened:
            return (await opened.models.add_classes(model_id, {"c17": "coffee mug"})).classes

    assert asyncio.run(added())[10:] == ["c17"]
    new = document("models", "add-class", model_id, "whale", "--words", "blue whale")
    assert new["classes"][10:] == ["whale"]
    assert "pets + whale" in dspt("models", "add-class", model_id, "whale").stdout
    refused = dspt("models", "add-class", new["id"], "Whale", ends=1)
    assert "the model already has this class as 'whale'" in refused.stderr


def tuned_on(live: Context, model_id: str, dataset_id: str | None, content: bytes = b"") -> str:
    """Let the model come from a job on this data set, or on a new one of this content."""
    job_id = bring_to(live, Status.RUNNING)
    with live.database.write() as session:
        job, model = session.get_one(Job, job_id), session.get_one(Model, model_id)
        job.dataset_id = dataset_id or job.dataset_id
        model.job_id = job_id
        dataset = session.get_one(Dataset, job.dataset_id)
    if dataset_id is None:
        live.storage.put_bytes(dataset.storage_key, content)
    return dataset.id


def hold_out(live: Context, model_id: str, dataset_id: str, files: Sequence[str]) -> None:
    """Let the model come from a finished job on this data set that held these files out."""
    job_id = bring_to(live, Status.SUCCEEDED)
    with live.database.write() as session:
        session.execute(delete(Model).where(Model.job_id == job_id))
        job, model = session.get_one(Job, job_id), session.get_one(Model, model_id)
        job.dataset_id, model.job_id, key = dataset_id, job_id, job.audit_key
    assert key is not None
    entries = [{"file": file, "held_out": True} for file in files]
    live.storage.put_bytes(key, json.dumps({"entries": entries}).encode())


def labelled(*parts: str, classes: Sequence[str] = ("class 0", "class 1")) -> bytes:
    """A zip with two images of each class in each part."""
    return zip_of(
        {
            f"{part}{name}/{i}.png": photo(hash_of(part, name, i))
            for part in parts
            for name in classes
            for i in range(2)
        }
    )


def hash_of(*parts: object) -> int:
    return zlib.crc32(repr(parts).encode())


def two(
    client: httpx.Client, live: Context, backbone: Backbone, folder: Path, content: bytes
) -> tuple[str, str, str]:
    """Two models tuned on one data set, and the data set: ids."""
    a = hand_in(client, tuned(backbone), folder, "first")["id"]
    b = hand_in(client, model_for(backbone), folder, "second")["id"]
    dataset = tuned_on(live, a, None, content)
    tuned_on(live, b, dataset)
    return a, b, dataset


Compared = Callable[..., Any]


@pytest.fixture
def compared(client: httpx.Client, live: Context) -> Compared:
    """Compare two models through the API itself, and check that a worker gives the same answer.

    `anew`: the worker encodes the images again.
    """

    def compare(a: str, b: str, *, anew: bool = False, **more: Any) -> Any:
        wanted = {"a": a, "b": b, **more}
        direct = client.post("/models/compare", json=wanted)
        if anew:
            FeatureStore(live.settings.feature_dir).expire(-1)
        made = client.post("/comparisons", json=wanted)
        if made.status_code != 202:
            assert (made.status_code, made.json()["code"]) == (
                direct.status_code,
                direct.json()["code"],
            )
            return direct
        assert compare_next(live)
        job = client.get(made.json()["links"]["self"]).json()
        if direct.status_code == 200:
            assert (job["status"], job["done"], job["error"]) == ("succeeded", job["images"], None)
            assert job["result"] == direct.json()
        else:
            assert job["status"] == "failed"
            assert job["error"]["code"] == direct.json()["code"]
        return direct

    return compare


def test_two_models_are_compared_on_the_test_photos_of_both(
    client: httpx.Client,
    live: Context,
    compared: Compared,
    backbone: Backbone,
    tmp_path: Path,
) -> None:
    content = labelled("train/", "test/", classes=["class 0", "class 1", "unknown"])
    a, b, dataset = two(client, live, backbone, tmp_path, content)
    response = compared(a, b, anew=True)
    assert response.status_code == 200, response.text
    found = response.json()
    assert (found["dataset_id"], found["part"]) == (dataset, "test")
    assert (found["images"], found["left_out"], found["unreadable"]) == (4, 2, 0)
    assert (found["a"]["model"], found["a"]["name"], found["b"]["name"]) == (a, "first", "second")
    for side in ("a", "b"):
        right = 0
        for name in ("class 0", "class 1"):
            images = [photo(hash_of("test/", name, i)) for i in range(2)]
            answers = predict(client, found[side]["model"], *images).json()["predictions"]
            right += sum(answer["label"] == name for answer in answers)
        assert found[side]["right"] == right
        assert found[side]["accuracy"] == right / 4
    assert found["verdict"].startswith("The difference is not significant")

    # A model with a class added comes from the same photos; an alias is as good as an id.
    more = add(client, a, whale=None).json()["id"]
    client.patch(f"/models/{a}", json={"alias": "old"}).raise_for_status()
    found = compared("old", more).json()
    assert (found["a"]["alias"], found["a"]["model"]) == ("old", a)
    assert (found["a"]["only_here"], found["b"]["only_here"]) == ([], ["whale"])


def test_kept_features_are_taken_and_what_is_no_image_is_left_out(
    client: httpx.Client,
    live: Context,
    compared: Compared,
    backbone: Backbone,
    tmp_path: Path,
) -> None:
    images = {"cat": photo(71), "dog": photo(72)}
    content = zip_of(
        {
            f"{part}/class {i}/1.png": image
            for part in ("train", "test")
            for i, image in enumerate(images.values())
        }
        | {"test/class 0/2.png": b"no image"}
    )
    a, b, _ = two(client, live, backbone, tmp_path, content)
    first = compared(a, b).json()
    assert (first["images"], first["unreadable"]) == (2, 1)
    # As if the worker had seen something else in them: the same for both.
    same = np.full(backbone.embed_dim, backbone.embed_dim**-0.5, np.float32)
    digests = [hashlib.sha256(image).hexdigest() for image in images.values()]
    store = FeatureStore(live.settings.feature_dir)
    for digest in digests:  # kept for the next time, but not for workers
        assert store.get(f"{backbone.digest}/served", digest, [0])
        assert not store.get(backbone.digest, digest, [0])
    store.put(backbone.digest, [(digest, 0, same) for digest in digests])
    found = compared(a, b).json()
    assert found["images"] == 2
    assert found["a"]["right"] <= 1


def test_photos_that_would_not_tell_are_refused(
    client: httpx.Client,
    live: Context,
    compared: Compared,
    backbone: Backbone,
    tmp_path: Path,
) -> None:
    a, b, dataset = two(client, live, backbone, tmp_path, labelled(""))
    imported = hand_in(client, tuned(backbone), tmp_path)["id"]
    problem(compared(a, b), 409, "no_test_part")
    problem(compared(a, b, all=True), 409, "learned_from")
    found = problem(compared(a, imported), 409, "no_common_photos")
    assert f"The photos that {imported} was tuned on are unknown" in found["detail"]
    c, d, other = two(client, live, backbone, tmp_path, labelled("train/", "val/"))
    found = problem(compared(a, c), 409, "no_common_photos")
    assert "tuned on different photos" in found["detail"]
    assert compared(a, imported, dataset_id=other).json()["part"] == "val"
    found = compared(c, d, dataset_id=dataset, all=True).json()
    assert (found["part"], found["images"]) == ("all", 4)

    problem(compared("no-such-model", b), 404, "model_not_found")
    problem(compared(a, b, dataset_id="ds_" + "0" * 26), 404, "dataset_not_found")
    problem(compared(a, b, dataset="x"), 422, "invalid_request")
    alone = hand_in(client, tuned(backbone, classes=["x", "y"], class_words=["x", "y"]), tmp_path)
    response = compared(alone["id"], a, dataset_id=other)
    problem(response, 422, "nothing_to_compare")
    live.storage.delete(f"datasets/{other}.zip")
    problem(compared(c, d), 404, "dataset_not_found")
    with live.database.write() as session:
        session.get_one(Dataset, other).expired_at = datetime.now(UTC)
    problem(compared(c, d), 409, "dataset_expired")


def test_without_a_test_part_the_photos_that_both_held_out_are_compared(
    client: httpx.Client,
    live: Context,
    compared: Compared,
    backbone: Backbone,
    tmp_path: Path,
) -> None:
    """They have the labels of the newer data set, here a correction of the other."""
    a, b, zip_id = two(client, live, backbone, tmp_path, labelled(""))
    corrections = Corrections.of({"class 0/0.png": "class 1"}, ["class 1/0.png"])
    with live.database.read() as session:
        corrected = datasets.corrected(session.get_one(Dataset, zip_id), corrections)
    newer = datasets.store(live, corrected, "local")
    hold_out(live, a, zip_id, ["class 0/0.png", "class 1/0.png"])
    hold_out(live, b, newer, ["class 0/0.png", "class 0/1.png"])
    for pair in ((a, b), (b, a)):
        found = compared(*pair).json()
        assert (found["part"], found["dataset_id"]) == ("held_out", newer)
        assert [(row["name"], row["images"]) for row in found["per_class"]] == [("class 1", 1)]

    hold_out(live, b, newer, ["class 0/1.png"])  # as a job with another seed
    found = problem(compared(a, b), 409, "no_test_part")
    assert "held out by the jobs of both models: their settings differ" in found["detail"]
    problem(compared(a, b, all=True), 409, "learned_from")


def test_labels_that_were_corrected_count_as_corrected(
    client: httpx.Client,
    live: Context,
    compared: Compared,
    backbone: Backbone,
    tmp_path: Path,
) -> None:
    a, b, _ = two(client, live, backbone, tmp_path, labelled("train/", "test/"))
    zip_id = tuned_on(live, hand_in(client, tuned(backbone), tmp_path)["id"], None, labelled(""))
    corrections = Corrections.of({"class 0/0.png": "class 1"}, ["class 0/1.png"])
    with live.database.read() as session:
        corrected = datasets.corrected(session.get_one(Dataset, zip_id), corrections)
    dataset = datasets.store(live, corrected, "local")
    found = compared(a, b, dataset_id=dataset, all=True).json()
    assert [(row["name"], row["images"]) for row in found["per_class"]] == [("class 1", 3)]


def test_a_file_cannot_lead_to_the_photos_of_others(
    client: httpx.Client,
    live: Context,
    compared: Compared,
    backbone: Backbone,
    tmp_path: Path,
) -> None:
    """An imported model may name any parent, also one of another owner."""
    a, b, _ = two(client, live, backbone, tmp_path, labelled("train/", "test/"))
    liar = hand_in(client, tuned(backbone, metrics=METRICS | {"parent": {"id": a}}), tmp_path)["id"]
    assert compared(liar, b).status_code == 200
    with live.database.write() as session:
        session.get_one(Model, a).owner = "bob"
    problem(compared(liar, b), 409, "no_common_photos")


def test_a_comparison_from_python_and_the_shell(
    api: tuple[str, Context],
    shell: None,
    client: httpx.Client,
    backbone: Backbone,
    tmp_path: Path,
) -> None:
    a, b, dataset = two(client, api[1], backbone, tmp_path, labelled("train/", "test/"))
    with Client(api[0]) as blocking:
        found = blocking.models.compare(a, b)
    with working(api[1]):
        by_shell = document("models", "compare", a, b, "--data", dataset)
        assert by_shell == found.model_dump(mode="json")
        told = dspt("models", "compare", a, b).stdout
        assert f"first ({a})" in told
        assert found.verdict in " ".join(told.split())
        assert "A model was tuned on" in dspt("models", "compare", a, b, "--all", ends=1).stderr
        # Photos that are not on the service yet.
        folder = tmp_path / "new"
        for name in ("class 0", "class 1"):
            (folder / name).mkdir(parents=True)
            (folder / name / "1.png").write_bytes(photo(int(name[-1])))
        assert document("models", "compare", a, b, "--data", folder, "--all")["images"] == 2
    newest, failed, *_ = document("comparisons", "list")
    assert (newest["status"], newest["result"], failed["status"]) == ("succeeded", None, "failed")
    shown = document("comparisons", "show", newest["id"])
    assert (shown["done"], shown["result"]["part"]) == (2, "all")
    assert "A model was tuned on" in dspt("comparisons", "show", failed["id"]).stdout
    assert document("comparisons", "retry", failed["id"])["status"] == "queued"
    assert document("comparisons", "cancel", failed["id"])["status"] == "cancelled"
    assert document("comparisons", "delete", failed["id"])["deleted"] is True
    assert newest["name"] in dspt("comparisons", "list").stdout
    with Client(api[0]) as blocking:
        assert failed["id"] not in {each.id for each in blocking.comparisons.list()}
