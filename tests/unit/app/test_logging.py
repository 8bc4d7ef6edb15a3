"""Each line of a process's log is JSON."""

from __future__ import annotations

import json
import subprocess
import sys

_PROGRAM = """
import logging, warnings
from app.kit.logging import configure_logging
from app.kit.settings import Settings
configure_logging(Settings(log_format="json"))
logging.getLogger("a library").info("started")
warnings.warn("careful:\\nroot", UserWarning)
"""


def test_warnings_of_libraries_are_json_too() -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-W", "default", "-c", _PROGRAM],
        capture_output=True,
        text=True,
        check=True,
    )
    started, warned = map(json.loads, ran.stderr.splitlines())
    assert started["event"] == "started"
    assert (warned["level"], warned["logger"]) == ("warning", "py.warnings")
    assert "UserWarning: careful:\nroot" in warned["event"]
