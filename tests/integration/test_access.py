"""Who gets at what: every route, with each kind of key and without; on each database."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from safetensors.torch import save

from app.access import keys
from app.kit.http.rules import Scope
from app.kit.ids import new_id
from app.main import create_app
from app.tables.access import ApiKey
from app.tables.models import Model
from tests.integration.access import PUBLIC, SIGN_IN, Headers, Made, Service, routes
from tests.integration.conftest import zip_of
from tests.integration.databases import on_sqlite
from tests.integration.jobs import files_in, problem
from tests.unit.models import raw_manifest

ROUTES = [
    route for route in routes(create_app()) if route[1] not in PUBLIC and route not in SIGN_IN
]
#: Keys are of no owner: only admins see them.
OF_ONE = [(method, path) for method, path in ROUTES if "{" in path and "/keys/" not in path]
EACH = pytest.mark.parametrize(("method", "path"), ROUTES)


@on_sqlite  # decided before the database is asked for more than the key
@EACH
def test_without_a_valid_key_there_is_nothing(
    service: Service, ann: Headers, method: str, path: str
) -> None:
    response = service.client.request(method, path)
    assert "dspt keys create" in problem(response, 401, "key_missing")["detail"]
    assert response.headers["www-authenticate"] == 'Bearer realm="dspt"'
    wrong = ann["Authorization"][:-1] + ("1" if ann["Authorization"].endswith("0") else "0")
    response = service.client.request(method, path, headers={"Authorization": wrong})
    problem(response, 401, "key_invalid")
    assert "error=" in response.headers["www-authenticate"]


@on_sqlite  # decided before the database is asked for more than the key
@EACH
def test_each_route_needs_its_scope(service: Service, method: str, path: str) -> None:
    reads = method == "GET" or path.endswith(("/predict", "/compare", "/tokens"))
    needed, other = (Scope.READ, Scope.SUBMIT) if reads else (Scope.SUBMIT, Scope.READ)
    if path == "/metrics":
        needed = Scope.METRICS
    if path.startswith("/keys"):
        needed = Scope.ADMIN
    found = problem(
        service.client.request(method, path, headers=service.key("cy", other)), 403, "scope_missing"
    )
    assert f"scope `{needed}`" in found["detail"]
    for scope in (needed, Scope.ADMIN):
        response = service.client.request(method, path, headers=service.key("cy", scope))
        assert response.status_code not in (401, 403), response.text


def asked(service: Service, headers: Headers, method: str, path: str, made: Made) -> Any:
    """The answer about one thing, without its id: its kind, status and body."""
    ids = {
        "job_id": made.job_id,
        "batch_id": made.batch_id,
        "comparison_id": made.comparison_id,
        "dataset_id": made.dataset_id,
        "model_id": made.model_id,
        "upload_id": made.upload_id,
        "prediction_id": made.prediction_id,
        "name": made.alias,
        "webhook_id": made.webhook_id,
        "delivery_id": "msg_00000000000000000000000000",
    }
    body: Any = {"name": "taken", "alias": "taken"} if method == "PATCH" else None
    files = None
    if path in ("/jobs/{job_id}", "/datasets/{dataset_id}"):
        body = body and {"metadata": {"taken": "taken"}}
    if (method, path) == ("POST", "/datasets/{dataset_id}/images"):
        files = {"archive": ("taken.zip", zip_of({"cat/2.png": b"taken"}))}
    if method == "PUT" and path == "/aliases/{name}":
        body = {"model": made.model_id}
    if path.endswith("/review"):
        body = {"verdicts": {"cat/1.png": {"action": "keep"}}}
    if path.endswith("/predict"):
        body = {"images": [""]}
    if path.endswith("/retrain"):
        body = {}
    if path.endswith("/classes"):
        body = {"classes": {"taken": None}}
    if "/parts/" in path:
        headers = headers | {"Content-Digest": "sha-256=:AAAA:"}
    response = service.client.request(
        method, path.format(**ids, number=1), headers=headers, json=body, files=files
    )
    text = response.text
    for id_ in ids.values():
        text = text.replace(id_, "ID")
    return response.status_code, response.headers["content-type"], text


@pytest.mark.parametrize(("method", "path"), OF_ONE)
def test_objects_of_other_owners_are_not_found(
    service: Service, ann: Headers, bob: Headers, anns: Made, method: str, path: str
) -> None:
    nobodys = Made(new_id("job"), new_id("ds"), new_id("mdl"), new_id("upl"), "nobodys")
    answer = asked(service, bob, method, path, anns)
    assert answer == asked(service, bob, method, path, nobodys)
    assert answer[0] == 404
    # Nothing has happened to it.
    for place in (f"/jobs/{anns.job_id}", f"/models/{anns.model_id}"):
        found = service.client.get(place, headers=ann)
        assert found.status_code == 200
        assert found.json().get("status", "succeeded") == "succeeded"
    assert found.json()["name"] != "taken"
    assert found.json()["aliases"] == [anns.alias]


def test_events_of_other_owners_are_not_streamed(
    service: Service, bob: Headers, anns: Made
) -> None:
    headers = bob | {"Accept": "text/event-stream"}
    response = service.client.get(f"/jobs/{anns.job_id}/events", headers=headers)
    problem(response, 404, "job_not_found")


def listed(service: Service, path: str, headers: Headers) -> set[str]:
    data = service.client.get(path, headers=headers).json()["data"]
    return {item["id"] for item in data} | {item.get("model_id") for item in data}


def jobs_of_a_data_set(service: Service, bob: Headers, anns: Made) -> None:
    before = files_in(service.context)
    response = service.client.post("/jobs", data={"dataset_id": anns.dataset_id}, headers=bob)
    problem(response, 404, "dataset_not_found")
    assert files_in(service.context) == before
    made = service.post(bob, b"ann").json()  # the very zip that Ann has sent
    assert made["dataset"]["id"] != anns.dataset_id


def uploaded_again(service: Service, bob: Headers, anns: Made) -> None:
    archive = zip_of({"cat/1.png": b"ann", "dog/1.png": b""})
    ids = set()
    for headers in (bob, service.key("ann")):
        response = service.client.post("/datasets", files={"dataset": archive}, headers=headers)
        assert response.status_code == 201, response.text
        ids.add(response.json()["id"])
    assert len(ids) == 2
    theirs = service.client.post("/datasets", data={"upload_id": anns.upload_id}, headers=bob)
    problem(theirs, 404, "upload_not_found")


def uploads(service: Service, bob: Headers, anns: Made) -> None:
    wanted = {"size_bytes": 10, "sha256": "0" * 64}  # the file that Ann is sending
    made = service.client.post("/uploads", json=wanted, headers=bob).json()["id"]
    assert made not in (None, anns.upload_id)


def batches_on_things_of_others(service: Service, bob: Headers, anns: Made) -> None:
    def posted(headers: Headers, model: str, **images: Any) -> Any:
        return service.client.post("/batches", data={"model": model}, headers=headers, **images)

    archive = {"archive": ("a.zip", zip_of({"1.png": b"x"}))}
    for name in (anns.model_id, anns.alias):
        problem(posted(bob, name, files=archive), 404, "model_not_found")
    data = {"model": anns.model_id, "dataset_id": service.post(bob, b"his").json()["dataset"]["id"]}
    refused = service.client.post("/batches", data=data, headers=service.key("ann"))
    problem(refused, 404, "dataset_not_found")


def predictions(service: Service, bob: Headers, anns: Made) -> None:
    for name in (anns.model_id, anns.alias):
        response = service.client.post(
            "/predict", data={"model": name}, files={"images": b"x"}, headers=bob
        )
        problem(response, 404, "model_not_found")
    captured = service.client.post(
        "/predict",
        data={"model": anns.model_id, "capture": "true"},
        files={"images": b"x"},
        headers=service.key("ann", Scope.READ),
    )
    problem(captured, 403, "scope_missing")


def feedback(service: Service, bob: Headers, anns: Made) -> None:
    answer = {"prediction": anns.prediction_id, "label": "dog"}
    problem(service.client.post("/feedback", json=answer, headers=bob), 404, "prediction_not_found")


def imported_models(service: Service, bob: Headers, anns: Made) -> None:
    tensors = {"context": torch.zeros(16, 512)}
    artifact = save(tensors, metadata={"manifest": json.dumps(raw_manifest())})
    response = service.client.post("/models", files={"artifact": artifact}, headers=bob)
    assert response.status_code == 201, response.text
    with service.context.database.read() as session:
        assert session.get_one(Model, response.json()["id"]).owner == "bob"


#: Routes that name no single thing in their path, and how they could give one away.
OTHERS = {
    ("GET", "/aliases"): lambda *a: not_listed(*a, "/aliases?limit=100"),
    ("GET", "/batches"): lambda *a: not_listed(*a, "/batches?limit=100"),
    ("GET", "/comparisons"): lambda *a: not_listed(*a, "/comparisons?limit=100"),
    ("GET", "/backbones"): None,  # has no owner
    ("GET", "/keys"): None,  # for admins
    ("POST", "/keys"): None,
    ("DELETE", "/keys/{key_id}"): None,
    ("GET", "/metrics"): None,  # everybody's, counted together, and only for a scope of its own
    ("GET", "/datasets"): lambda *a: not_listed(*a, "/datasets?limit=100"),
    ("GET", "/jobs"): lambda *a: not_listed(*a, "/jobs?limit=100"),
    ("GET", "/session"): None,  # describes the caller
    ("GET", "/models"): lambda *a: not_listed(*a, "/models?limit=100"),
    ("GET", "/webhooks"): lambda *a: not_listed(*a, "/webhooks?limit=100"),
    ("POST", "/batches"): batches_on_things_of_others,
    ("POST", "/comparisons"): lambda *a: not_taken(*a, "/comparisons"),
    ("POST", "/datasets"): uploaded_again,
    ("POST", "/datasets/demo"): None,  # takes nothing; stored as any other of the caller
    ("POST", "/feedback"): feedback,
    ("POST", "/jobs"): jobs_of_a_data_set,
    ("POST", "/jobs/check"): None,  # takes no ids and creates nothing
    ("POST", "/models"): imported_models,
    ("POST", "/models/compare"): lambda *a: not_taken(*a, "/models/compare"),
    ("POST", "/predict"): predictions,
    ("POST", "/tokens"): None,  # gives no right that the caller does not have: test_path_tokens.py
    ("POST", "/uploads"): uploads,
    ("POST", "/webhooks"): None,  # takes no ids; events of other owners: test_webhooks.py
}


def not_listed(service: Service, bob: Headers, anns: Made, path: str) -> None:
    anns_ids = {anns.job_id, anns.dataset_id, anns.model_id, anns.webhook_id, anns.comparison_id}
    assert not anns_ids & listed(service, path, bob)


def not_taken(service: Service, bob: Headers, anns: Made, path: str) -> None:
    for name in (anns.model_id, anns.alias):
        response = service.client.post(path, json={"a": name, "b": name}, headers=bob)
        problem(response, 404, "model_not_found")


def test_every_route_is_looked_at_here() -> None:
    assert set(OF_ONE) | set(OTHERS) == set(ROUTES)


@pytest.mark.parametrize(("method", "path"), [route for route in OTHERS if OTHERS[route]])
def test_no_other_call_reaches_objects_of_other_owners(
    service: Service, bob: Headers, anns: Made, method: str, path: str
) -> None:
    OTHERS[method, path](service, bob, anns)


def test_two_keys_of_one_owner_see_the_same(service: Service, anns: Made) -> None:
    second = service.key("ann", Scope.READ)
    assert anns.job_id in listed(service, "/jobs?limit=100", second)
    assert service.client.get(f"/models/{anns.model_id}/artifact", headers=second).text == "tensors"


def test_an_admin_sees_everybodys(service: Service, admin: Headers, anns: Made) -> None:
    assert anns.job_id in listed(service, "/jobs?limit=100", admin)
    for path in ("/models?limit=100", "/aliases?limit=100"):
        assert anns.model_id in listed(service, path, admin)
    assert service.client.get(f"/jobs/{anns.job_id}/audit", headers=admin).status_code == 200


def test_what_an_admin_makes_of_a_job_belongs_to_its_owner(
    service: Service, ann: Headers, bob: Headers, admin: Headers, anns: Made
) -> None:
    job = service.post(ann, b"tried again").json()["id"]
    assert service.client.post(f"/jobs/{job}/cancel", headers=admin).status_code == 202
    assert service.client.post(f"/jobs/{job}/retry", headers=admin).status_code == 202
    response = service.client.post(
        "/jobs", data={"dataset_id": anns.dataset_id}, headers=admin | {"Idempotency-Key": "1"}
    )
    assert response.status_code == 202, response.text
    for made in (job, response.json()["id"]):
        assert service.client.get(f"/jobs/{made}", headers=ann).json()["status"] == "queued"
        assert service.client.get(f"/jobs/{made}", headers=bob).status_code == 404
    # The key of idempotency was the admin's own: Ann's is another.
    mine = service.post(ann | {"Idempotency-Key": "1"}, b"hers").json()
    assert mine["id"] != response.json()["id"]
    # Neither can a key without the scope admin whose owner has the admin's name.
    lesser = service.key("root") | {"Idempotency-Key": "1"}
    again = service.client.post("/jobs", data={"dataset_id": anns.dataset_id}, headers=lesser)
    assert again.status_code == 404


def test_a_key_of_idempotency_is_its_owners(service: Service, ann: Headers, bob: Headers) -> None:
    key = {"Idempotency-Key": "the same"}
    first, second = service.post(ann | key), service.post(bob | key)
    assert first.status_code == second.status_code == 202
    assert first.json()["id"] != second.json()["id"]
    other = service.post(bob | key, b"something else")
    assert first.json()["id"] not in problem(other, 409, "idempotency_key_reused")["detail"]
    assert service.post(ann | key).json()["id"] == first.json()["id"]


def test_revoked_at_once_and_for_good(service: Service) -> None:
    headers = service.key("dee")
    assert service.client.get("/jobs", headers=headers).status_code == 200
    with service.context.database.write() as session:
        key = session.query(ApiKey).filter_by(owner="dee").one()
        assert keys.revoke(session, key.id) is key
        moment = key.revoked_at
    problem(service.client.get("/jobs", headers=headers), 401, "key_invalid")
    with service.context.database.write() as session:
        again = keys.revoke(session, key.id)
        assert again is not None
        assert again.revoked_at == moment
        assert keys.revoke(session, "key_x") is keys.revoke(session, new_id("key")) is None
