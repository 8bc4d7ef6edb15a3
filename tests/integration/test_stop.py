"""SIGTERM of the API: no client is left without an answer."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.integration.conftest import zip_of
from tests.integration.test_open_streams import post_job
from tests.services import clean_environment, free_port, wait_until

DELAY, TIMEOUT = 4, 3


class Upload:
    """POST /jobs whose second half waits."""

    def __init__(self, name: str) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        head = f'--x\r\nContent-Disposition: form-data; name="dataset"; filename="{name}"\r\n\r\n'
        self._body = head.encode() + zip_of({f"{name}/1.png": b"not an image"}) + b"\r\n--x--\r\n"

    def send(self, url: str) -> httpx.Response:
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        return httpx.post(f"{url}/jobs", content=self._halves(), headers=headers, timeout=60)

    def _halves(self) -> Iterator[bytes]:
        yield self._body[:100]
        self.begun.set()
        assert self.go_on.wait(60)
        yield self._body[100:]


def events(url: str, after: str | None = None) -> Iterator[str]:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
    with httpx.stream("GET", url, headers=headers, timeout=60) as response:
        yield from response.iter_lines()


def test_a_stop_in_steps(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    url = f"http://127.0.0.1:{port}"
    environment = clean_environment(
        DSPT_DATA_DIR=str(tmp_path / "data"),
        DSPT_STOP_DELAY_SECONDS=str(DELAY),
        DSPT_STOP_TIMEOUT_SECONDS=str(TIMEOUT),
        DSPT_LOG_FORMAT="json",
    )
    command = [sys.executable, "-m", "app.cli", "api", "--port", str(port)]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, env=environment, stdout=output, stderr=output) as api,
        ThreadPoolExecutor() as threads,
    ):
        try:
            wait_until(lambda: status(url) == 200, 120, "the API")
            with httpx.Client(base_url=url) as client:
                job = post_job(client)
            lines = events(url + job["links"]["events"])
            first = [next(lines) for _ in range(3)]
            good, endless = Upload("good"), Upload("endless")
            sent = {upload: threads.submit(upload.send, url) for upload in (good, endless)}
            assert all(upload.begun.wait(60) for upload in sent)

            start = time.monotonic()
            api.terminate()
            # 1. It is not ready, but serves all requests.
            wait_until(lambda: status(url) == 503, 60, "step 1")
            report = httpx.get(f"{url}/health/ready").json()
            assert (report["status"], report["stopping"]) == ("not_ready", True)
            assert httpx.get(f"{url}/jobs").status_code == 200
            # 2. The stream ends with the event to resume after, and an upload ends well.
            rest = list(lines)
            wait_until(lambda: status(url) is None, 60, "step 2")
            assert time.monotonic() - start >= DELAY
            farewell = rest[rest.index(": the server is stopping; reconnect with Last-Event-ID") :]
            seen = next(line for line in reversed([*first, *rest]) if line.startswith("id: "))
            assert seen in farewell
            good.go_on.set()
            assert sent[good].result(60).status_code == 202
            # 3. What does not end is told to come back.
            wait_until(lambda: "requests are cancelled" in log.read_text(), 60, "step 3")
            endless.go_on.set()
            response = sent[endless].result(60)
            assert (response.status_code, response.json()["code"]) == (503, "stopping")
            assert int(response.headers["retry-after"]) > 0
            assert api.wait(60) in (0, -signal.SIGTERM)
            assert time.monotonic() - start < DELAY + TIMEOUT + 10
        finally:
            for upload in (good, endless):
                upload.go_on.set()
            api.kill()
    assert '"level": "error"' not in log.read_text()


def status(url: str) -> int | None:
    """Of /health/ready; None if the API accepts no connection."""
    try:
        return httpx.get(f"{url}/health/ready", timeout=60).status_code
    except httpx.TransportError:
        return None
