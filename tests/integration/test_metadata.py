"""Metadata of the user's own, and filters of lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dspt_client import Client
from dspt_client.schemas.status import Status
from fastapi.testclient import TestClient

from app.access.keys import create
from app.kit.context import Context
from app.kit.http.rules import Scope
from tests.commands import invoke
from tests.integration.access import bearer
from tests.integration.conftest import zip_of
from tests.integration.databases import on_sqlite
from tests.integration.jobs import bring_to, problem
from tests.integration.own_api import running
from tests.integration.stack import photos


def upload(client: TestClient, name: str, metadata: Any = None, **headers: str) -> Any:
    fields = {} if metadata is None else {"metadata": json.dumps(metadata)}
    files = {"dataset": (name, zip_of(photos(2) | {"red/name.png": name.encode()}))}
    return client.post("/datasets", files=files, data=fields, headers=headers)


def ids(client: TestClient, where: str, **filters: Any) -> list[str]:
    """All ids of a list, read in pages of one."""
    found, after = [], None
    while True:
        answer = client.get(where, params={**filters, "limit": 1, "after": after or ""})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [each["id"] for each in page["data"]]
        after = page["next"]
        if after is None:
            return found


def test_lists_are_filtered_page_by_page(client: TestClient, live: Context) -> None:
    made = [
        upload(
            client, f"{'Left' if n % 2 else 'right_'} {n}.zip", {"n": str(n), "side:x": side}
        ).json()
        for n, side in enumerate(["a", "b", "a", 'a"b'])
    ]
    sets = [each["id"] for each in made]
    newest = sets[::-1]
    assert made[1]["metadata"] == {"n": "1", "side:x": "b"}
    assert ids(client, "/datasets") == newest
    assert ids(client, "/datasets", metadata="side:x=a") == [sets[2], sets[0]]
    assert ids(client, "/datasets", metadata=["side:x=a", "n=2"]) == [sets[2]]
    assert ids(client, "/datasets", metadata='side:x=a"b') == [sets[3]]
    assert ids(client, "/datasets", metadata="other=a") == []
    assert ids(client, "/datasets", name="left") == [sets[3], sets[1]]
    assert ids(client, "/datasets", name="t_") == [sets[2], sets[0]]  # no pattern
    at = made[1]["created_at"]
    assert ids(client, "/datasets", created_after=at) == [sets[3], sets[2]]
    assert ids(client, "/datasets", created_before=at, name="right") == [sets[0]]

    # The next page of a filtered list goes on where it was, whatever is added meanwhile.
    first = client.get("/datasets", params={"metadata": "side:x=a", "limit": 1}).json()
    upload(client, "new.zip", {"side:x": "a"})
    params = {"metadata": "side:x=a", "after": first["next"]}
    assert [each["id"] for each in client.get("/datasets", params=params).json()["data"]] == [
        sets[0]
    ]


def test_jobs_models_and_corrections_have_it(client: TestClient, live: Context) -> None:
    made = upload(client, "a.zip").json()
    own = {"dataset_id": made["id"], "metadata": '{"run": "7"}'}
    jobs = [
        client.post("/jobs", data=own | {"config": json.dumps({"epochs": n + 1})}).json()
        for n in range(2)
    ]
    assert [job["metadata"] for job in jobs] == [{"run": "7"}] * 2
    other = bring_to(live, Status.SUCCEEDED)
    [model] = client.get("/models").json()["data"]
    changed = client.patch(f"/models/{model['id']}", json={"metadata": {"team": "x"}}).json()
    assert (changed["metadata"], changed["name"]) == ({"team": "x"}, model["name"])
    assert client.get(f"/models/{model['id']}").json() == changed
    job = f"/jobs/{jobs[1]['id']}"
    assert client.patch(job, json={"metadata": {"run": "8"}}).json()["metadata"] == {"run": "8"}
    assert client.get(job).json()["metadata"] == {"run": "8"}
    assert client.patch(f"/datasets/{made['id']}", json={"metadata": {}}).json()["metadata"] == {}

    assert ids(client, "/jobs", metadata="run=7") == [jobs[0]["id"]]
    assert ids(client, "/jobs", metadata="run=7", status="failed") == []
    assert ids(client, "/jobs", backbone=jobs[0]["config"]["backbone"], name="A") == [
        jobs[1]["id"],
        jobs[0]["id"],
    ]
    assert ids(client, "/jobs", created_after=jobs[1]["created_at"]) == [other]
    assert ids(client, "/jobs", backbone="other") == []
    assert ids(client, "/models", metadata="team=x", backbone=model["backbone"]) == [model["id"]]
    assert ids(client, "/models", metadata="team=y") == ids(client, "/models", backbone="b") == []


@on_sqlite
def test_owners_filter_what_they_see(client: TestClient, live: Context) -> None:
    with live.database.write() as session:
        keys = {
            name: create(session, name, name, scopes)[1]
            for name, scopes in {
                "ann": [Scope.SUBMIT, Scope.READ],
                "bob": [Scope.SUBMIT, Scope.READ],
                "ada": [Scope.ADMIN],
            }.items()
        }
    made = upload(client, "a.zip", {"a": "b"}, **bearer(keys["ann"])).json()["id"]
    upload(client, "b.zip", {"a": "b"}, **bearer(keys["bob"]))

    def found(key: str, **filters: str) -> list[str]:
        answer = client.get("/datasets", params=filters, headers=bearer(keys[key]))
        return [each["id"] for each in answer.json()["data"]]

    assert found("ada", owner="ann") == found("ann", metadata="a=b") == [made]
    assert found("bob", owner="ann") == []
    where, body = f"/datasets/{made}", {"metadata": {"x": "y"}}
    problem(client.patch(where, json=body, headers=bearer(keys["bob"])), 404, "dataset_not_found")


@on_sqlite
@pytest.mark.parametrize(
    "metadata",
    [
        {"a": 1},
        {"a": None},
        {"a": {"b": "c"}},
        {'a"b': "c"},
        {"": "c"},
        {"a" * 65: "c"},
        {"a": "c" * 501},
        {"a": "c\u0000"},
        {"a": "\ud800"},
        {str(n): "c" for n in range(17)},
        ["a"],
        "a",
    ],
)
def test_what_is_no_metadata_is_refused(unchanged: TestClient, metadata: Any) -> None:
    problem(upload(unchanged, "a.zip", metadata), 422, "invalid_request")
    data = json.dumps({"metadata": metadata})
    answer = unchanged.patch(
        "/jobs/job_" + "0" * 26, content=data, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422), answer.text
    assert ids(unchanged, "/datasets") == []


@on_sqlite
def test_the_client_and_the_commands_pass_it_on(
    client: TestClient, live: Context, tmp_path: Path
) -> None:
    archive = tmp_path / "pets.zip"
    archive.write_bytes(zip_of(photos(2)))
    with running(live.settings) as (url, _), Client(url) as python:
        made = python.datasets.create(archive, metadata={"a": "b=c"})
        assert python.datasets.update(made.id, metadata={"a": "d"}).metadata == {"a": "d"}
        job = python.jobs.create(made.id, metadata={"run": "1"})
        assert [each.id for each in python.datasets.list(metadata={"a": "d"})] == [made.id]
        assert [each.id for each in python.jobs.list(metadata={"run": "1"})] == [job.id]
        assert list(python.models.list(metadata={"run": "1"}, created_after=made.created_at)) == []

        def dspt(*arguments: str) -> Any:
            return invoke([*arguments, "--url", url, "--json"])

        listed = json.loads(dspt("jobs", "list", "--metadata", "run=1").output)
        assert [each["id"] for each in listed] == [job.id]
        new = dspt("datasets", "add", made.id, str(archive), "--metadata", "n=2")
        added = json.loads(new.stdout)
        assert (added["version"], added["metadata"]) == (2, {"n": "2"})
        assert json.loads(dspt("datasets", "list", "--name", "zzz").output) == []
        assert dspt("models", "list", "--metadata", "x").exit_code == 2
