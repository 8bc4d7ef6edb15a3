"""The rules that routes declare: found before the body is read, demanded at start-up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from app.kit.http.middleware import BeforeBody, BodyLimit
from app.kit.http.rules import (
    FindRules,
    Rules,
    Scope,
    UndeclaredRoute,
    check_rules,
    find_rules,
    rules,
)
from app.kit.settings import Settings
from app.main import create_app

PROBES = {"/health/live", "/health/ready"}
DOCUMENTATION = {"/docs", "/docs/{asset}", "/errors", "/errors/{code}", "/openapi.json"}
PAGE = {"/", "/ui", "/ui/", "/ui/{name}"}
SIGN_IN = {("POST", "/session"), ("DELETE", "/session")}
#: They change nothing; their input does not fit into an address.
READ_BY_POST = {"/predict", "/models/{name}/predict", "/models/compare", "/tokens"}


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return create_app(Settings(data_dir=tmp_path))


def found(app: FastAPI, method: str, path: str, root_path: str = "") -> Rules:
    scope: dict[str, Any] = {"type": "http", "method": method, "path": root_path + path}
    return find_rules(
        list(iter_route_contexts(app.routes)), {**scope, "root_path": root_path, "headers": []}
    )


def expected_scope(method: str, path: str) -> Scope | None:
    if path in PROBES | DOCUMENTATION | PAGE or (method, path) in SIGN_IN:
        return None
    if path == "/metrics":
        return Scope.METRICS
    if path.startswith("/keys"):
        return Scope.ADMIN
    return Scope.READ if method in ("GET", "HEAD") or path in READ_BY_POST else Scope.SUBMIT


@pytest.mark.parametrize("root_path", ["", "/dspt"])
def test_every_route_is_found_with_the_scope_that_it_declares(app: FastAPI, root_path: str) -> None:
    checked = 0
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            path = str(route.path)
            rules = found(app, method, path, root_path)
            assert rules.scope == expected_scope(method, path), (method, path)
            assert rules.probe == (path in PROBES | {"/metrics"}), path
            checked += 1
    assert checked > 25


def test_a_forwarded_call_that_must_not_be_repeated_declares_504(app: FastAPI) -> None:
    paths, checked = app.openapi()["paths"], 0
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            rules = found(app, method, str(route.path))
            if rules.predicts:
                repeatable = rules.scope is Scope.READ
                responses = paths[route.path][method.lower()]["responses"]
                assert ("504" in responses) is not repeatable, route.path
                checked += not repeatable
    assert checked


@pytest.mark.parametrize("root_path", ["", "/dspt"])
def test_body_limits_of_uploads_and_archives(app: FastAPI, root_path: str) -> None:
    settings = SimpleNamespace(max_upload_bytes=9, max_body_bytes=2)
    predict = SimpleNamespace(max_archive_bytes=5)
    state: Any = SimpleNamespace(settings=settings, predict_settings=predict)
    limits = {}
    for method, path in (("POST", "/jobs"), ("POST", "/predict"), ("POST", "/models")):
        limit = found(app, method, path, root_path).max_body_bytes
        limits[path] = limit and limit(state)
    assert limits == {"/jobs": 9, "/predict": 5, "/models": None}
    assert found(app, "POST", "/jobs", root_path).before_body is not None


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/nothing", Scope.READ),
        ("POST", "/nothing", Scope.SUBMIT),
        ("POST", "/predict/", Scope.SUBMIT),
        ("GET", "/health/nothing", Scope.READ),
        ("DELETE", "/jobs", Scope.SUBMIT),
        ("TRACE", "/predict", Scope.SUBMIT),
        ("POST", "/health/live", None),
    ],
)
def test_unknown_paths_and_methods_fail_closed(
    app: FastAPI, method: str, path: str, scope: Scope | None
) -> None:
    rules = found(app, method, path)
    assert rules.scope == scope
    assert (rules.max_body_bytes, rules.before_body) == (None, None)


def test_an_undeclared_route_is_refused_at_start_up_and_needs_an_admin_anyway(app: FastAPI) -> None:
    check_rules(app)
    router = APIRouter(prefix="/new")

    @router.post("/thing")
    def undeclared() -> None: ...

    app.include_router(router, prefix="/v1")
    with pytest.raises(UndeclaredRoute, match=r"POST /v1/new/thing"):
        check_rules(app)
    assert found(app, "POST", "/v1/new/thing") == Rules(Scope.ADMIN)


def test_limits_hold_below_a_prefix_and_a_root_path() -> None:
    router = APIRouter()
    checked: list[str] = []

    @router.post("/small")
    @rules(Scope.SUBMIT, before_body=lambda scope: checked.append(scope["path"]))
    def small(body: bytes) -> None: ...

    @router.post("/large")
    @rules(Scope.SUBMIT, max_body_bytes=lambda state: int(state.most))
    def large() -> None: ...

    app = FastAPI()
    app.state.most = 100
    app.include_router(router, prefix="/v1")
    app.add_middleware(BodyLimit, default_bytes=10)
    app.add_middleware(BeforeBody)
    app.add_middleware(FindRules)
    client = TestClient(app, raise_server_exceptions=False, root_path="/dspt")
    for prefix in ("/v1", "/dspt/v1"):
        assert client.post(f"{prefix}/large", content=b"x" * 100).status_code == 200
        assert client.post(f"{prefix}/large", content=b"x" * 101).status_code == 413
        assert client.post(f"{prefix}/small", content=b"x" * 11).status_code == 413
    assert [path.removeprefix("/dspt") for path in checked] == ["/v1/small"] * 2
