"""The roles of API processes: one that only predicts, and one that forwards predictions to it."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from app.kit.settings import Settings
from app.main import create_app
from app.predictions.replicas import Replicas
from dspt.backbones import load_backbone
from dspt.model.artifact import save_model
from tests.integration.conftest import local_client
from tests.integration.databases import on_sqlite
from tests.integration.jobs import problem
from tests.integration.own_api import running
from tests.photographs import jpegs
from tests.services import free_port
from tests.unit.models import model_for

pytestmark = on_sqlite

KEY = "a key that is long enough for an admin".replace(" ", "-")
SIGNED = {"Authorization": f"Bearer {KEY}"}
PHOTO = jpegs(1)[0]


def with_role(settings: Settings, role: str) -> Settings:
    return settings.model_copy(update={"role": role, "bootstrap_key": KEY})


@contextmanager
def forwarding(settings: Settings, url: str, patch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The API of the role `api`, before another one at `url`."""
    patch.setenv("DSPT_PREDICT_URL", url)
    with local_client(create_app(with_role(settings, "api"))) as client:
        patch.delenv("DSPT_PREDICT_URL")
        client.headers.update(SIGNED)
        yield client


def add_model(client: TestClient, folder: Path) -> str:
    save_model(model_for(load_backbone("builtin")), folder / "model.safetensors")
    artifact = (folder / "model.safetensors").read_bytes()
    response = client.post("/models", files={"artifact": ("m.safetensors", artifact)})
    assert response.status_code == 201, response.text
    model_id: str = response.json()["id"]
    return model_id


def test_predictions_go_to_the_process_that_makes_them(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        running(with_role(settings, "predict")) as (url, _),
        forwarding(settings, url, monkeypatch) as client,
    ):
        model = add_model(client, tmp_path)
        files = [("images", ("a.jpg", PHOTO)), ("images", ("b.jpg", b"no photo"))]
        answer = client.post("/predict", data={"model": model}, files=files)
        assert answer.status_code == 200, answer.text
        good, bad = answer.json()["predictions"]
        assert good["label"]
        assert bad["error"]
        assert len(answer.headers.get_list("x-request-id")) == 1
        # The path and the query; a raw body; an error of the other process.
        one = client.post(f"/models/{model}/predict?top_k=1", content=PHOTO)
        [only] = one.json()["predictions"]
        assert only["top"] == good["top"][:1]
        problem(client.post("/models/none/predict", content=PHOTO), 404, "model_not_found")
        streamed = client.post(
            "/predict",
            data={"model": model},
            files=files,
            headers={"Accept": "application/x-ndjson"},
        )
        assert [json.loads(line) for line in streamed.text.splitlines()][-1]["done"] is True
        added = client.post(f"/models/{model}/classes", json={"classes": {"kite": None}})
        assert added.status_code == 201, added.text
        assert client.app.state.inference.backbones.engines == {}  # type: ignore[attr-defined]
        # Each has its own part of the calls.
        assert client.get("/jobs").status_code == 200
        with httpx.Client(base_url=url, headers=SIGNED) as other:
            problem(other.get("/jobs"), 404, "predictions_only")
            assert other.get("/health/live").json()["stuck_loops"] == []
            figures = other.get("/metrics").text
            assert "dspt_http_requests_total" in figures
            assert "dspt_jobs" not in figures
            # Of the loops it runs the one that belongs to its own disk.
            assert re.findall(r'\{loop="(.+)"\}', figures) == ["local garbage collection"]


def test_a_large_body_of_an_unknown_caller_goes_nowhere(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSPT_PREDICT_URL", f"http://127.0.0.1:{free_port()}")
    with running(with_role(settings, "api")) as (url, _), httpx.Client(timeout=120) as client:
        post = partial(client.post, f"{url}/models/a/predict", content=b"x" * 20_000_000)
        wrong = post(headers={"Authorization": "Bearer wrong"})
        problem(wrong, 401, "key_invalid")
        assert wrong.headers["connection"] == "close"  # the rest of the body is not read
        problem(post(headers=SIGNED), 503, "predictions_unavailable")


def test_a_process_that_forwards_nowhere_names_the_setting(settings: Settings) -> None:
    with local_client(create_app(with_role(settings, "api"))) as client:
        client.headers.update(SIGNED)
        answer = problem(client.post("/models/a/predict", content=PHOTO), 503, "no_predict_url")
        assert "DSPT_PREDICT_URL" in answer["detail"]
        assert client.get("/health/ready").json()["status"] == "ready"


def test_no_process_for_predictions(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with forwarding(settings, f"http://127.0.0.1:{free_port()}", monkeypatch) as client:
        answer = client.post("/predict", data={"model": "a"}, files={"images": ("a", PHOTO)})
        problem(answer, 503, "predictions_unavailable")
        assert answer.headers["retry-after"] == "5"
        assert "connection" not in answer.headers  # the whole body was read: it stays open


@contextmanager
def other_process(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """A server for one request, which it answers after its head."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(65536)
                connection.sendall(answer(head))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/below"
        thread.join(60)


def test_what_the_other_process_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[bytes] = []

    def answer(head: bytes) -> bytes:
        heads.append(head)
        lines = ["HTTP/1.1 200 OK", "X-Mine: 1", "Connection: X-Hop", "X-Hop: 1"]
        return "\r\n".join([*lines, "Content-Length: 2", "", "{}"]).encode()

    with other_process(answer) as url, forwarding(settings, url, monkeypatch) as client:
        headers = {
            "Authorization": "Bearer key",
            "Connection": "X-Private",
            "X-Private": "1",
            "X-Forwarded-For": "203.0.113.1",
            "X-Request-ID": "mine",
        }
        answered = client.post("/models/a%20b/predict?top_k=2", content=b"x", headers=headers)
    assert answered.json() == {}
    assert answered.headers["x-mine"] == "1"
    assert "x-hop" not in answered.headers
    line, *lines = heads[0].split(b"\r\n\r\n")[0].decode().lower().split("\r\n")
    told = dict(each.split(": ", 1) for each in lines)
    assert line == "post /below/models/a%20b/predict?top_k=2 http/1.1"
    assert told["authorization"] == "bearer key"
    assert told["x-forwarded-for"] == "203.0.113.1, 127.0.0.1"
    assert told["x-request-id"] == "mine"
    assert told["via"] == "1.1 dspt"
    assert told["content-length"] == "1"
    assert "x-private" not in told


def test_an_answer_before_the_whole_body_is_passed_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(_head: bytes) -> bytes:
        return b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"

    with other_process(answer) as url, forwarding(settings, url, monkeypatch) as client:
        answered = client.post("/models/a/predict", content=b"x" * 20_000_000)
    assert answered.status_code == 413


@contextmanager
def counting() -> Iterator[tuple[str, list[str]]]:
    """Address of a process that answers everything, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Tests say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join(60)


def test_predictions_on_a_backbone_go_to_one_process(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        made = dict(stack.enter_context(counting()) for _ in range(2))
        chosen = Replicas(list(made)).choose("builtin")
        assert chosen is not None
        [other] = made.keys() - {chosen}
        # Without the backbone it would be the first.
        client = stack.enter_context(forwarding(settings, f"{other},{chosen}", monkeypatch))
        model = add_model(client, tmp_path)
        client.patch(f"/models/{model}", json={"alias": "production"})
        files = {"images": ("a.jpg", PHOTO)}
        for name in (model, "production"):
            assert client.post(f"/models/{name}/predict", content=PHOTO).status_code == 200
            assert client.post("/predict", data={"model": name}, files=files).status_code == 200
        assert (len(made[chosen]), made[other]) == (4, [])
        assert client.post("/models/none/predict", content=PHOTO).status_code == 200
        assert made[other] == ["/models/none/predict"]  # not known: the first of two idle ones
