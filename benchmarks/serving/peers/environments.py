"""An environment for each peer: its own versions, and nothing of ours."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.skeleton.program import BenchmarkError

#: Written last, so that an installation that was cut off is not used.
_COMPLETE = "complete"


def python_of(folder: Path, requirements: Sequence[str]) -> Path:
    """Return the Python of the environment with these packages; the first call installs them.

    Raises BenchmarkError.
    """
    digest = hashlib.sha256("\n".join(sorted(requirements)).encode()).hexdigest()[:12]
    place = folder / digest
    python = place / "bin" / "python"
    if not (place / _COMPLETE).exists():
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place)
        pip = [sys.executable, "-P", "-m", "pip", "--python", str(python), "install", "--quiet"]
        done = subprocess.run(
            [*pip, "--disable-pip-version-check", *requirements],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchmarkError(f"pip cannot install {' '.join(requirements)}:\n{done.stderr}")
        (place / _COMPLETE).touch()
    return python


def versions_in(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of these packages in an environment."""
    program = (
        "import json, sys; from importlib.metadata import version;"
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    command = [str(python), "-P", "-c", program, *packages]
    found: dict[str, str] = json.loads(subprocess.check_output(command))
    return found
