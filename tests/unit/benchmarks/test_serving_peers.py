"""`python -m benchmarks.serving --peers`: requests, processes of the peers, and what is derived."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.serving.__main__ import PEERS
from benchmarks.serving.api import EMBEDDINGS, ONE_IMAGE, PREDICT
from benchmarks.serving.peers.environments import python_of
from benchmarks.serving.peers.peer import Peer, running
from benchmarks.serving.peers.report import goals, markdown
from benchmarks.skeleton.program import BenchmarkError, run
from tests.services import children_of, wait_until

# A server with a child of its own, which must end with it.
_SERVER = """
import http.server, subprocess, sys
subprocess.Popen(["sleep", "infinity"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_each_server_gets_the_images_as_it_takes_them() -> None:
    photos = [b"one", b"two"]
    assert PREDICT.found(b'[{"file":"a","label":"x"},{"file":"b","error":"no"}]') == 1
    single = json.loads(ONE_IMAGE.body("m", [ONE_IMAGE.image(b"one")]))
    assert base64.b64decode(single["image"]) == b"one"
    assert ONE_IMAGE.found(b'{"predictions":[{"label":"x"}]}') == 1
    several = json.loads(EMBEDDINGS.body("m", [EMBEDDINGS.image(p) for p in photos]))
    assert several["model"] == "m"
    assert [base64.b64decode(uri.partition(",")[2]) for uri in several["input"]] == photos
    assert EMBEDDINGS.found(b'{"data":[{"embedding":"a"},{"embedding":"b"}]}') == 2


def test_a_peer_is_waited_for_and_ends_with_all_its_processes(tmp_path: Path) -> None:
    peer = Peer("small", [], [], ["-c", _SERVER, "{port}"])
    variables = {"PEER_HF_WEIGHTS": ""}
    with running(peer, Path(sys.executable), variables, 1, tmp_path / "log") as server:
        url = f"http://127.0.0.1:{server.port}/"
        assert httpx.get(url).status_code == 200
        (child,) = children_of(*server.processes["small"])
    wait_until(lambda: _ended(child), 60, "the end of the child")
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def _ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_peer_that_does_not_start_shows_its_last_lines(tmp_path: Path) -> None:
    peer = Peer("broken", [], [], ["-c", "raise SystemExit('no weights')"])
    variables = {"PEER_HF_WEIGHTS": ""}
    with (
        pytest.raises(BenchmarkError, match=r"(?s)broken ended with 1:.*no weights"),
        running(peer, Path(sys.executable), variables, 1, tmp_path / "log"),
    ):
        pass


def test_an_installation_that_fails_is_told_and_not_used(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(BenchmarkError, match=r"(?s)pip cannot install .*missing\.whl"):
            python_of(tmp_path, [str(tmp_path / "missing.whl")])


def test_the_option_has_results_and_defaults_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(options: Any, folder: Any, photos: Any, on_progress: Any, document: Any) -> None:
        document |= {"peers": {}, "rounds": []}

    monkeypatch.setattr("benchmarks.serving.run.measure_peers", measure)
    monkeypatch.setattr("benchmarks.serving.run.make_photos", lambda *given: [b"photo"])
    assert run(PEERS, ["--peers", "--threads", "2", "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "serving_peers.json").read_text())
    assert document["command"].startswith("python -m benchmarks.serving --peers --threads 2")
    assert document["settings"] == {"seconds": 10, "rounds": 2, "threads": 2, "seed": 1}


def _figures(rate: float, p99: float, mib: float) -> dict[str, Any]:
    each = {"images_per_second": rate, "p50": 0.02, "p99": p99, "cpu_ms": 10.0, "failed": 0}
    return {clients: each | {"mib": mib} for clients in ("1", "8", "64")}


def test_goals_compare_with_the_best_peer_of_each_figure() -> None:
    document: dict[str, Any] = {
        "command": "python -m benchmarks.serving --peers",
        "machine": {"processor": "CPU", "cpus": 2},
        "versions": {"torch": "2"},
        "settings": {"seconds": 10, "rounds": 2, "threads": 2, "seed": 1},
        "photos": {"mean_bytes": 45_000},
        "peers": {"fast": {"server": "1.0"}, "small": {"server": "2.0"}},
        "rounds": [
            {"dspt": _figures(40, 0.2, 900), "fast": _figures(30, 0.3, 2000)},
            {"dspt": _figures(44, 0.2, 900), "small": _figures(10, 0.1, 800)},
        ],
    }
    found = {goal: (measured, met) for goal, measured, met in goals(document)}
    assert found["64 clients: 1.3 times the best peer's images per second"] == (
        "42.0 of 30.0 (fast): 1.40",
        True,
    )
    latency = "8 clients: 99th percentile of the latency not above the best peer's"
    assert found[latency] == ("200 ms of 100 ms (small)", False)
    assert not [met for name, (_, met) in found.items() if name.startswith("memory") and met]
    text = markdown(document)
    assert "| fast | 64 | 30.0 | 0.75 (0.75 to 0.75) | 20 | 300 | 10 | 2,000 | 0 |" in text
    assert "- small: server 2.0" in text
    assert goals(document | {"rounds": []}) == []
