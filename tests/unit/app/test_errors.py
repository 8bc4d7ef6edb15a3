"""Problem documents, the body limit and request ids, on a small application."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request, UploadFile
from fastapi.testclient import TestClient
from sqlalchemy import exc
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from app.kit.http.error_handlers import install_error_handlers
from app.kit.http.errors import Conflict, ProblemItem
from app.kit.http.middleware import BodyLimit, RequestContext
from app.kit.http.rules import FindRules
from dspt.errors import ConfigError, DatasetError, Problem, WeightsUnavailable

ERRORS = {
    "conflict": Conflict("no", code="busy", errors=[ProblemItem(param="a", code="b", message="c")]),
    "config": ConfigError("bad lr", param="lr"),
    "dataset": DatasetError([Problem("cat", "too_few", "one image"), Problem("", "x", "y")]),
    "weights": WeightsUnavailable("offline"),
    "database": OperationalError("SELECT secret", {}, Exception("gone")),
    "pool": exc.TimeoutError("all connections are in use"),
    "disk": OSError(errno.ENOSPC, "No space left on device", "/secret"),
    "file": OSError(errno.EIO, "Input/output error", "/secret"),
    "bug": RuntimeError("secret"),
}


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    install_error_handlers(app)
    app.add_middleware(BodyLimit, default_bytes=10)
    app.add_middleware(RequestContext)
    app.add_middleware(FindRules)

    @app.get("/raise/{name}")
    def fail(name: str) -> None:
        raise ERRORS[name]

    @app.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("name", "status", "code", "params"),
    [
        ("conflict", 409, "busy", ["a"]),
        ("config", 422, "invalid_config", ["lr"]),
        ("dataset", 422, "too_few", ["cat", None]),
        ("weights", 503, "weights_unavailable", [None]),
        ("database", 503, "database_unavailable", []),
        ("pool", 503, "database_unavailable", []),
        ("disk", 507, "storage_full", []),
        ("file", 500, "internal_error", []),
        ("bug", 500, "internal_error", []),
    ],
)
def test_errors_become_problems(
    client: TestClient, name: str, status: int, code: str, params: list[str | None]
) -> None:
    with capture_logs():  # printed, each takes a second
        response = client.get(f"/raise/{name}", headers={"X-Request-ID": "r-1"})
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"] == "r-1"
    body = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert [item["param"] for item in body["errors"]] == params
    assert "secret" not in response.text
    if status == 500:
        assert "r-1" in body["detail"]


def test_a_full_disk_during_an_upload_is_a_server_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = FastAPI()
    install_error_handlers(app)

    @app.post("/upload")
    def upload(file: UploadFile) -> int:
        return file.size or 0

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    client = TestClient(app, raise_server_exceptions=False)
    assert client.post("/upload", files={"file": b"abc"}).json() == 3
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.write", full)
    response = client.post("/upload", files={"file": b"abc"})
    assert (response.status_code, response.json()["code"]) == (507, "storage_full")


def chunks(*sizes: int) -> Iterator[bytes]:
    for size in sizes:
        yield b"x" * size


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x" * 10, {}, 200),
        (b"x" * 11, {}, 413),
        (chunks(5, 5), {}, 200),
        (chunks(5, 5, 1, 1), {}, 413),
        (chunks(11), {}, 413),
        (chunks(8, 8), {"content-length": "5"}, 413),
        (chunks(5), {"content-length": "many"}, 200),
    ],
)
def test_the_body_is_counted_whatever_length_is_declared(
    client: TestClient, body: bytes | Iterator[bytes], headers: dict[str, str], status: int
) -> None:
    response = client.post("/size", content=body, headers=headers)
    assert response.status_code == status
    if status == 413:
        assert response.json()["code"] == "payload_too_large"
        assert response.headers["connection"] == "close"
    else:
        assert response.json() in (5, 10)
