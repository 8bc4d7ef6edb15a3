"""`python -m app.serve ...`: the supervisor, which `dspt serve` becomes after its checks."""

from __future__ import annotations

import sys
from pathlib import Path

from app.serve import ServeError
from app.serve.stack import serve


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    data_dir, host, port, stop_seconds = sys.argv[1:]
    try:
        serve(Path(data_dir), host, int(port), float(stop_seconds), _say)
    except ServeError as error:
        sys.exit(f"dspt serve: {error}")
