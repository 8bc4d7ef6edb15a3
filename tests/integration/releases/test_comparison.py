"""Two finished classifiers compared over HTTP."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
from dspt_client import Client

from app.datasets import service as datasets
from app.kit.context import Context
from app.tables.datasets import Dataset
from app.tables.models import Model
from dspt.backbones.base import Backbone
from dspt.features.store import FeatureStore
from dspt.labels.corrections import Corrections
from tests.integration.cli.calls import document, dspt
from tests.integration.conftest import zip_of
from tests.integration.jobs import problem
from tests.integration.predictions.calls import photo, predict
from tests.integration.releases.calls import (
    METRICS,
    Compared,
    add,
    hand_in,
    hash_of,
    hold_out,
    labelled,
    tuned,
    tuned_on,
    two,
    working,
)


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
    assert f"The photos of {imported} are unknown" in found["detail"]
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
