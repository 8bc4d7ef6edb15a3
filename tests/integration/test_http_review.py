"""Verdicts of people on a finished job over HTTP, on each database; nothing runs the jobs here."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.access import keys
from app.jobs.review import verdicts
from app.kit.context import Context
from app.kit.ids import LOCAL_OWNER
from app.kit.scopes import Scope
from tests.integration.conftest import post_job, zip_of
from tests.integration.corrections import GIVEN, corrections_of, finish, finished
from tests.integration.databases import on_sqlite
from tests.integration.jobs import problem

KEEP, DROP = {"action": "keep"}, {"action": "drop"}


def relabel(label: str, **more: Any) -> dict[str, Any]:
    return {"action": "relabel", "label": label, **more}


def save(
    client: TestClient, job: Mapping[str, Any], found: Mapping[str, Any], **headers: str
) -> dict[str, Any]:
    response = client.patch(f"/jobs/{job['id']}/review", json={"verdicts": found}, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["etag"] == f'"{response.json()["version"]}"'
    review: dict[str, Any] = response.json()
    return review


def test_verdicts_are_saved_undone_and_remembered(client: TestClient, live: Context) -> None:
    job = finished(client, live)
    address = job["links"]["review"]
    empty = client.get(address)
    assert empty.headers["etag"] == '"0"'
    assert empty.json() == {
        "object": "review",
        "job_id": job["id"],
        "version": 0,
        "verdicts": {},
        "counts": {"keep": 0, "relabel": 0, "drop": 0},
    }
    first = save(client, job, {"cat/0.png": relabel("dog"), "cat/1.png": KEEP})
    assert first["version"] == 2
    cat = first["verdicts"]["cat/0.png"]
    assert {**cat, "at": None} == {
        "action": "relabel",
        "label": "dog",
        "new_class": False,
        "by": None,
        "at": None,
    }
    second = save(
        client,
        job,
        {"cat/0.png": None, "cat/1.png": KEEP, "cat/2.png": relabel("lynx", new_class=True)},
        **{"If-Match": '"2"'},
    )
    # The verdict that was there already is not repeated.
    assert second["version"] == 4
    assert second["verdicts"].keys() == {"cat/0.png", "cat/2.png"}
    assert second["verdicts"]["cat/0.png"] is None
    assert second["verdicts"]["cat/2.png"]["new_class"]
    assert second["counts"] == {"keep": 1, "relabel": 1, "drop": 0}

    whole = client.get(address).json()
    assert list(whole["verdicts"]) == ["cat/1.png", "cat/2.png"]
    assert client.get(address, params={"since": 2}).json() == second
    assert client.get(address, params={"since": 4}).json()["verdicts"] == {}
    same = client.get(address, headers={"If-None-Match": '"4"'})
    assert (same.status_code, same.content) == (304, b"")

    pages = [client.get(f"{address}/history", params={"limit": 3, "after": n}) for n in (0, 3)]
    events = [event for page in pages for event in page.json()["data"]]
    assert [(e["id"], e["file"], e["verdict"] and e["verdict"]["action"]) for e in events] == [
        (1, "cat/0.png", "relabel"),
        (2, "cat/1.png", "keep"),
        (3, "cat/0.png", None),
        (4, "cat/2.png", "relabel"),
    ]
    assert [page.json()["next"] for page in pages] == [3, None]
    # They go with the job.
    assert client.delete(job["links"]["self"]).status_code == 204
    assert client.get(address).status_code == 404


def test_what_is_wrong_is_refused_together_and_nothing_is_saved(
    client: TestClient, live: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finished(client, live)
    address = job["links"]["review"]
    wrong = {
        "cat/0.png": relabel("dgo"),
        "cat/9.png": KEEP,
        "dog/9.png": None,
        "cat/1.png": relabel("dog", new_class=True),
        "cat/2.png": DROP,
    }
    refused = client.patch(address, json={"verdicts": wrong})
    assert refused.status_code == 422
    assert {(e["param"], e["code"]) for e in refused.json()["errors"]} == {
        ("cat/0.png", "unknown_class"),
        ("cat/9.png", "unknown_file"),
        ("dog/9.png", "unknown_file"),
        ("dog", "class_exists"),
    }
    assert any("did you mean 'dog'" in each["message"] for each in refused.json()["errors"])
    for verdict in ({"action": "keep", "label": "dog"}, {"action": "relabel"}, {"action": "burn"}):
        response = client.patch(address, json={"verdicts": {"cat/0.png": verdict}})
        assert response.status_code == 422, verdict
    assert client.get(address).json()["version"] == 0

    save(client, job, {"cat/2.png": DROP})
    late = {"verdicts": {"cat/3.png": DROP}}
    for version, status, code in (
        ('"0"', 412, "review_changed"),
        ("W/1", 400, "bad_etag"),
    ):
        response = client.patch(address, json=late, headers={"If-Match": version})
        problem(response, status, code)
    assert client.get(address).json()["version"] == 1
    monkeypatch.setattr(verdicts, "_LEAST_LIMIT", 0)
    monkeypatch.setattr(verdicts, "_PER_FILE", 0)
    problem(client.patch(address, json=late), 409, "review_full")

    running = post_job(client)
    problem(client.get(f"/jobs/{running['id']}/review"), 409, "job_not_finished")


def test_the_audit_leads_to_photos_and_to_what_is_not_reviewed(
    client: TestClient, live: Context
) -> None:
    archive = zip_of(dict.fromkeys(GIVEN, b"not decoded"))
    response = client.post("/jobs", files={"dataset": ("pets.zip", archive)})
    finish(live, response.json()["id"])
    job = client.get(response.json()["links"]["self"]).json()
    save(client, job, {"cat/0.png": KEEP, "dog/1.png": DROP, "dog/2.png": KEEP})
    save(client, job, {"dog/2.png": None})

    def listed(**query: Any) -> list[str]:
        found, after = [], ""
        while after is not None:
            page = client.get(job["links"]["audit"], params={**query, "after": after}).json()
            found += page["entries"]
            after = page["next"]
        images = client.get(f"/datasets/{job['dataset']['id']}/images").json()["data"]
        by_number = {image["number"]: image["file"] for image in images}
        if "limit" in query:
            assert [by_number[entry["image"]] for entry in found] == [e["file"] for e in found]
        return [entry["file"] for entry in found]

    cats, seen = [file for file in GIVEN if file.startswith("cat")], ["cat/0.png", "dog/1.png"]
    for limit in ({}, {"limit": 3}):
        assert listed(**limit) == list(GIVEN)
        assert listed(given="cat", **limit) == cats
        assert listed(reviewed="true", **limit) == seen
        assert listed(reviewed="false", given="cat", **limit) == cats[1:]
        assert listed(suspect="false", **limit) == []


def test_corrections_are_made_from_the_verdicts(client: TestClient, live: Context) -> None:
    job = finished(client, live)
    save(
        client,
        job,
        {
            "cat/0.png": relabel("dog"),
            "cat/1.png": relabel("lynx", new_class=True),
            "cat/2.png": KEEP,
            "dog/0.png": DROP,
            "dog/1.png": DROP,
        },
    )
    save(client, job, {"dog/1.png": None})
    address = job["links"]["corrections"]
    both = client.post(address, json={"review": True, "drop": ["dog/2.png"]})
    problem(both, 422, "review_and_corrections")
    body = {"review": True, "new_classes": {"lynx": "big cat"}}
    key = {"Idempotency-Key": "k"}
    response = client.post(address, json=body, headers=key)
    assert response.status_code == 202, response.text
    new = response.json()
    save(client, job, {"dog/3.png": DROP})
    again = client.post(address, json=body, headers=key)  # the answer was lost
    assert again.json()["id"] == new["id"]
    found = corrections_of(live, new)
    assert found.relabel == {"cat/0.png": "dog", "cat/1.png": "lynx"}
    assert (found.drop, found.keep) == (frozenset({"dog/0.png"}), frozenset({"cat/2.png"}))
    assert found.new_classes == {"lynx": "big cat"}
    # The new job has a review of its own, in which the new class is known.
    given = {**GIVEN, **found.relabel}
    finish(live, new["id"], {file: name for file, name in given.items() if file not in found.drop})
    assert save(client, new, {"cat/3.png": relabel("lynx")})["version"] == 1
    assert client.get(job["links"]["review"]).json()["version"] == 7


def test_no_verdict_of_two_writers_is_lost(client: TestClient, live: Context) -> None:
    job = finished(client, live)
    address, files = job["links"]["review"], list(GIVEN)

    def free(number: int) -> None:
        save(client, job, {files[number]: DROP})

    def guarded(number: int) -> int:
        """Save as a page does that must not miss what others do; return the tries."""
        for tries in range(1, 100):
            version = client.get(address).json()["version"]
            response = client.patch(
                address,
                json={"verdicts": {files[number]: KEEP}},
                headers={"If-Match": f'"{version}"'},
            )
            if response.status_code == 200:
                assert response.json()["version"] == version + 1
                return tries
            assert response.status_code == 412
        raise AssertionError("never the current version")

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(free if n % 2 else guarded, n) for n in range(len(files))]
        for run in runs:
            run.result()
    review = client.get(address).json()
    assert review["version"] == len(files)
    assert {file: each["action"] for file, each in review["verdicts"].items()} == {
        file: "drop" if number % 2 else "keep" for number, file in enumerate(files)
    }


@on_sqlite
def test_owners_scopes_and_names(client: TestClient, live: Context) -> None:
    job = finished(client, live)
    with live.database.write() as session:
        made = {
            name: keys.create(session, name, owner, scopes)[1]
            for name, owner, scopes in (
                ("ann", LOCAL_OWNER, {Scope.READ, Scope.SUBMIT}),
                ("reader", LOCAL_OWNER, {Scope.READ}),
                ("stranger", "other", {Scope.READ, Scope.SUBMIT}),
            )
        }
    address = job["links"]["review"]

    def call(name: str, method: str = "PATCH") -> Any:
        body = {"json": {"verdicts": {"cat/0.png": KEEP}}} if method == "PATCH" else {}
        headers = {"Authorization": f"Bearer {made[name]}"}
        return client.request(method, address, headers=headers, **body)

    assert call("ann").json()["verdicts"]["cat/0.png"]["by"] == "ann"
    assert call("reader", "GET").json()["verdicts"]["cat/0.png"]["by"] == "ann"
    assert call("reader").status_code == 403
    assert call("stranger").status_code == call("stranger", "GET").status_code == 404
