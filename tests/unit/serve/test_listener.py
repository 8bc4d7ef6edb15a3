"""A port or an address that the API cannot bind to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.serve import ServeError
from app.serve.listener import bind

IN_USE = "is not available: Address already in use. Stop the program that uses it, or choose"


def test_a_port_in_use_is_refused_with_the_fix() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServeError, match=f"Port {port} of 127.0.0.1 {IN_USE} .* --port"):
            bind("127.0.0.1", port)


def test_an_address_of_another_machine_is_named_instead_of_the_port() -> None:
    with pytest.raises(ServeError, match=r"^--host 192.0.2.1: not an address of this machine"):
        bind("192.0.2.1", 0)


def test_the_api_says_so_in_one_sentence_before_it_imports_or_creates_much(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = subprocess.run(
            [sys.executable, "-P", "-m", "app.cli", "api", "--port", str(port)],
            env=os.environ | {"DSPT_DATA_DIR": str(data), "PYTHONPROFILEIMPORTTIME": "1"},
            capture_output=True,
            text=True,
        )
    assert result.returncode == 1
    assert result.stdout == ""
    said = result.stderr.splitlines()
    [line] = [line for line in said if not line.startswith("import time:")]
    assert line.startswith(f"dspt api: Port {port} of 127.0.0.1 {IN_USE}")
    imported = {line.rsplit("|", 1)[-1].strip() for line in said}
    assert "app.access.binding" in imported
    assert not imported & {"app.main", "fastapi", "uvicorn"}
    assert not data.exists()
