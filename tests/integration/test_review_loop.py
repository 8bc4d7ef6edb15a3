"""From the audit to corrections to a better classifier, with a real worker on one database each."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from dspt.data.copies import THUMBNAIL
from tests.integration.databases import on_postgres, on_sqlite
from tests.integration.stack import Stack, photos

pytestmark = pytest.mark.slow

WRONG = {f"train/red/wrong {number}.png": "blue" for number in range(3)}
"""Where they lie -> where they belong."""


def mislabelled() -> dict[str, bytes]:
    """Ten photos of each class to train on, three of the blue filed under red; ten to test on.

    No two are alike.
    """
    files = {}
    for name, content in photos(per_class=20).items():
        number = int(name.partition("/")[2].removesuffix(".png"))
        files[f"{'train' if number < 10 else 'test'}/{name}"] = content
    for number, wrong in enumerate(WRONG):
        files[wrong] = files.pop(f"train/blue/{number}.png")
    return files


def succeeded(job: dict[str, Any]) -> bool:
    return bool(job["status"] == "succeeded")


def correct(stack: Stack, job_id: str, **body: Any) -> str:
    response = stack.client.post(f"/jobs/{job_id}/corrections", json=body)
    assert response.status_code == 202, response.text
    new: str = response.json()["id"]
    return new


def served_accuracy(job: dict[str, Any]) -> float:
    metrics = job["metrics"]
    accuracy: float = metrics[metrics["served"]]["accuracy"]
    return accuracy


def labels(stack: Stack, job_id: str) -> dict[str, str]:
    """Class of each training file that a job was tuned on."""
    entries = stack.client.get(f"/jobs/{job_id}/audit").json()["entries"]
    return {entry["file"]: entry["given"] for entry in entries}


def predictions(stack: Stack, job_id: str) -> dict[str, bool]:
    """Whether the job is right about each file that it was measured on."""
    entries = stack.client.get(f"/jobs/{job_id}/predictions").json()["entries"]
    return {entry["file"]: entry["label"] == entry["predicted"] for entry in entries}


def kept_features(stack: Stack) -> list[tuple[str, int, bytes]]:
    """(image, view, feature) of all that is stored."""
    with closing(sqlite3.connect(stack.settings.feature_dir / "features.sqlite")) as connection:
        query = (
            "SELECT image, view, data FROM features WHERE backbone NOT LIKE ? ORDER BY image, view"
        )
        return connection.execute(query, (f"%/{THUMBNAIL}",)).fetchall()


def mark_features(stack: Stack) -> None:
    """Change the last bit of a number in each: what is encoded again loses the mark."""
    with closing(sqlite3.connect(stack.settings.feature_dir / "features.sqlite")) as connection:
        for image, view, data in kept_features(stack):
            marked = bytes([data[0] ^ 1]) + data[1:]
            connection.execute(
                "UPDATE features SET data = ? WHERE image = ? AND view = ? AND backbone NOT LIKE ?",
                (marked, image, view, f"%/{THUMBNAIL}"),
            )
        connection.commit()


@on_sqlite
def test_from_audit_to_corrections_to_a_better_classifier(stack: Stack) -> None:
    first_id = stack.post(mislabelled(), epochs=4, batch_size=8)
    with stack.worker():
        first = stack.wait(first_id, succeeded)
        audit = stack.client.get(f"/jobs/{first_id}/audit").json()
        assert {entry["file"] for entry in audit["entries"][:3]} == set(WRONG)
        mark_features(stack)
        features = kept_features(stack)
        assert len(features) == 40

        relabel = dict(list(WRONG.items())[:2])
        second_id = correct(stack, first_id, relabel=relabel)
        second = stack.wait(second_id, succeeded)
        assert stack.statuses(second_id) == ["queued", "validating", "running", "succeeded"]
        assert kept_features(stack) == features
        assert served_accuracy(second) >= served_accuracy(first)
        assert second["dataset"]["content_sha256"] != first["dataset"]["content_sha256"]
        assert second["dataset"]["images"] == 40
        assert second["config"] == first["config"]
        assert labels(stack, second_id) == labels(stack, first_id) | relabel

        # Both were measured on test/: the difference and the photos that flipped.
        results = {job["id"]: predictions(stack, job["id"]) for job in (first, second)}
        right = {
            job_id: {f for f, hit in found.items() if hit} for job_id, found in results.items()
        }
        change = second["change"]
        assert change["images"] == len(results[first_id]) == len(results[second_id]) == 20
        assert set(change["gained"]) == right[second_id] - right[first_id]
        assert set(change["lost"]) == right[first_id] - right[second_id]
        assert change["before"]["accuracy"] == served_accuracy(first)
        assert change["after"]["accuracy"] == served_accuracy(second)
        low, high = change["difference_interval"]
        assert low <= change["difference"] <= high
        assert change["noise_rate_after"] == second["metrics"]["noise_rate"]
        assert first["change"] is None
        entries = stack.client.get(f"/jobs/{second_id}/audit").json()["entries"]
        assert {e["file"] for e in entries if e["kept"]} == set(relabel)
        assert not any(e["suspect"] for e in entries if e["kept"])

        # A job on a version with more photos encodes those only.
        before = features
        more = {f"{n}.png": data for n, data in enumerate(photos(22).values()) if n in (20, 21)}
        added = stack.client.post(
            f"/datasets/{second['dataset']['id']}/images",
            files=[("images", image) for image in more.items()],
            data={"label": "red"},
        )
        assert added.status_code == 201, added.text
        on_more = {"dataset_id": added.json()["id"], "config": '{"epochs": 1}'}
        fourth_id = stack.client.post("/jobs", data=on_more).json()["id"]
        fourth = stack.wait(fourth_id, succeeded)
        assert fourth["dataset"]["images"] == 42
        new = {f"images/{name}": "red" for name in more}
        assert labels(stack, fourth_id) == labels(stack, second_id) | new
        features = kept_features(stack)
        assert len(features) == 42
        assert set(before) < set(features)
        assert stack.client.delete(f"/jobs/{fourth_id}").status_code == 204
        assert stack.client.delete(f"/datasets/{added.json()['id']}").status_code == 204

        # Corrections of the corrected job add up, and nothing that it was made from is needed.
        last = list(WRONG)[2]
        kept = "train/blue/9.png"
        third_id = correct(stack, second_id, drop=[last], keep=[kept])
        expected = {f: name for f, name in labels(stack, second_id).items() if f != last}
        for job_id in (first_id, second_id):
            assert stack.client.delete(f"/jobs/{job_id}").status_code == 204
        third = stack.wait(third_id, succeeded)
        assert third["dataset"]["images"] == 39
        assert third["dataset"]["corrections"] == {
            "relabelled": 2,
            "dropped": 1,
            "kept": 1,
            "from_job": None,
        }
        entries = stack.client.get(f"/jobs/{third_id}/audit").json()["entries"]
        assert {e["file"] for e in entries if e["kept"]} == {*relabel, kept}
        assert labels(stack, third_id) == expected
        assert kept_features(stack) == features
        model = stack.client.get(third["links"]["model"]).json()
        assert model["dataset_sha256"] == third["dataset"]["content_sha256"]

        # What one person corrects another may take back.
        fourth_id = correct(stack, third_id, relabel=dict.fromkeys(relabel, "red"))
        stack.wait(fourth_id, succeeded)
        assert labels(stack, fourth_id) == expected | dict.fromkeys(relabel, "red")


@pytest.mark.deep  # as any other job: test_bucket, test_interruptions
@on_postgres
def test_a_corrected_job_goes_on_where_it_was_interrupted(stack: Stack) -> None:
    first_id = stack.post(mislabelled(), epochs=1)

    def at_epoch_three(job: dict[str, Any]) -> bool:
        return bool(job["status"] == "running" and (job["progress"]["epoch"] or 0) >= 3)

    with stack.worker() as process:
        stack.wait(first_id, succeeded)
        config = {"epochs": 16, "batch_size": 4}
        second_id = correct(stack, first_id, relabel=WRONG, config=config)
        stack.wait(second_id, at_epoch_three)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(120)
    with stack.worker():
        second = stack.wait(second_id, succeeded)
    # Progress was made, so the lost attempt does not count.
    assert second["attempt"] == 1
    assert stack.statuses(second_id).count("queued") == 2
    events = stack.client.get(f"/jobs/{second_id}/events?limit=1000").json()["data"]
    epochs = [event["data"]["epoch"] for event in events if event["type"] == "metrics"]
    assert (epochs[-1], epochs.count(1)) == (16, 1)
    assert labels(stack, second_id) == labels(stack, first_id) | WRONG
