"""An API with keys, and what their owners have made there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from app.access import keys
from app.feedback import capture
from app.feedback.capture import Captured
from app.kit.context import Context
from app.kit.http.rules import Scope
from app.kit.settings import Settings
from app.main import create_app
from app.models.resolve import ResolvedModel
from tests.integration.conftest import zip_of
from tests.integration.jobs import claim, make_model

Headers = dict[str, str]

#: Everything that is served without a key.
PUBLIC = {
    "/",
    "/ui",
    "/ui/",
    "/ui/{name}",
    "/docs",
    "/docs/{asset}",
    "/errors",
    "/errors/{code}",
    "/openapi.json",
    "/health/live",
    "/health/ready",
}
#: What signs a browser in and out; tests/integration/test_sessions.py.
SIGN_IN = {("POST", "/session"), ("DELETE", "/session")}


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of whatever the application answers, in its documentation or not."""
    return sorted(
        (method, str(route.path))
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
        if method != "HEAD"
    )


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Made:
    """What one owner has."""

    job_id: str
    dataset_id: str
    model_id: str
    upload_id: str
    alias: str = "production"
    """Points to the model."""
    batch_id: str = "bat_00000000000000000000000000"
    webhook_id: str = "whk_00000000000000000000000000"
    prediction_id: str = "prd_00000000000000000000000000"
    comparison_id: str = "cmp_00000000000000000000000000"


class Service:
    """An API in this process; `client` sends no key of itself."""

    def __init__(self, app: FastAPI, client: TestClient) -> None:
        self.app = app
        self.client = client

    @property
    def context(self) -> Context:
        context: Context = self.app.state.context
        return context

    def key(self, owner: str, *scopes: Scope) -> Headers:
        """The header of a new key; read and submit unless other scopes are given."""
        with self.context.database.write() as session:
            given = scopes or (Scope.READ, Scope.SUBMIT)
            _, token = keys.create(session, f"{owner}'s", owner, given)
        return bearer(token)

    def post(self, headers: Headers, content: bytes = b"a", **fields: str) -> Any:
        """Submit a job on a zip that is not read."""
        archive = zip_of({"cat/1.png": content})
        files = {"dataset": ("pets.zip", archive)}
        return self.client.post("/jobs", files=files, data=fields, headers=headers)

    def made(self, owner: str, headers: Headers) -> Made:
        """A job that has succeeded, its model and its audit."""
        job = self.post(headers, owner.encode()).json()
        lease = claim(self.context, job["id"])
        lease.start_running({"sha256": "f" * 64, "images": 1, "classes": ["cat", "dog"]})
        model = make_model(job["id"])
        model.owner = owner
        audit = {"can_tell": True, "why": "", "suspects": 0, "entries": []}
        audit_key = f"audits/{model.id}.json"
        self.context.storage.put_bytes(audit_key, json.dumps(audit).encode())
        self.context.storage.put_bytes(model.storage_key, b"tensors")
        lease.succeed(model, config=job["config"], metrics={}, audit_key=audit_key)
        wanted: dict[str, Any] = {"size_bytes": 10, "sha256": "0" * 64}
        upload = self.client.post("/uploads", json=wanted, headers=headers).json()
        made = Made(job["id"], job["dataset"]["id"], model.id, upload["id"])
        wanted = {"alias": made.alias}
        self.client.patch(f"/models/{model.id}", json=wanted, headers=headers).raise_for_status()
        data = {"model": model.id, "dataset_id": made.dataset_id}
        batch = self.client.post("/batches", data=data, headers=headers)
        wanted = {"url": "https://host.invalid/"}  # nothing is sent: nothing ends any more
        webhook = self.client.post("/webhooks", json=wanted, headers=headers)
        kept = Captured("a.png", b"x", "cat", 0.5, 0.1, np.ones(2, np.float16))
        of_owner = ResolvedModel(model.id, owner, "", None)
        (prediction,) = capture.store(self.context, of_owner, [kept])
        pair = {"a": model.id, "b": model.id, "dataset_id": made.dataset_id}
        comparison = self.client.post("/comparisons", json=pair, headers=headers)
        return replace(
            made,
            batch_id=batch.json()["id"],
            webhook_id=webhook.json()["id"],
            prediction_id=prediction,
            comparison_id=comparison.json()["id"],
        )


class User:
    """An owner of models and aliases, with a key of his own."""

    def __init__(self, service: Service, owner: str, *scopes: Scope) -> None:
        self.service, self.owner = service, owner
        self.headers: Headers = service.key(owner, *scopes)

    def send(
        self, method: str, path: str, *, headers: Headers | None = None, **options: Any
    ) -> Any:
        both = self.headers | (headers or {})
        return self.service.client.request(method, path, headers=both, **options)

    def add_model(self) -> str:
        model = make_model("")
        model.job_id, model.owner = None, self.owner
        with self.service.context.database.write() as session:
            session.add(model)
        return model.id

    def add_models(self, count: int) -> list[str]:
        return [self.add_model() for _ in range(count)]

    def change(self, model_id: str, **changes: Any) -> Any:
        return self.send("PATCH", f"/models/{model_id}", json=changes)

    def move(self, alias: str, *model_ids: str) -> None:
        for model_id in model_ids:
            response = self.change(model_id, alias=alias)
            assert response.status_code == 200, response.text
            assert alias in response.json()["aliases"]

    def roll_back(self, alias: str) -> Any:
        return self.send("POST", f"/aliases/{alias}/rollback")

    def target(self, alias: str) -> str:
        target: str = self.send("GET", f"/aliases/{alias}").json()["model_id"]
        return target

    def history(self, alias: str) -> list[dict[str, Any]]:
        """All moves, the oldest first."""
        found = self.send("GET", f"/aliases/{alias}?limit=100").json()
        assert not found["has_more"]
        return list(reversed(found["history"]))


@contextmanager
def served(
    settings: Settings, client: tuple[str, int] = ("203.0.113.9", 50000)
) -> Iterator[Service]:
    """The API as others reach it: under a name, from another machine unless `client` says so."""
    app = create_app(settings)
    options: dict[str, Any] = {"base_url": "http://dspt.example", "client": client}
    with TestClient(app, raise_server_exceptions=False, **options) as opened:
        yield Service(app, opened)
