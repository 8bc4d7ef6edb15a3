"""`python -m app.serve.processes ...`: API processes that share a port (`dspt api --workers N`).

They inherit one socket, and the system gives each connection to one that is free. As in
`dspt serve`, all of them run, or none, and none outlives this process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from app.serve import ServeError
from app.serve.listener import SOCKET_PATH_BYTES, bind
from app.serve.part import Plan
from app.serve.supervisor import supervising

#: Each further process starts more slowly, as all share the cores.
_START_SECONDS = 10


def serve(
    count: int, host: str, port: int, stop_seconds: float, say: Callable[[str], None]
) -> None:
    """Run `count` API processes until a signal requests a stop.

    stop_seconds: what each needs to stop. Raises ServeError if they cannot start, or if one dies.
    """
    with bind(host, port) as listener, TemporaryDirectory(prefix="dspt-api-") as folder:
        sockets = [Path(folder) / f"{number}.sock" for number in range(1, count + 1)]
        if len(bytes(sockets[-1])) > SOCKET_PATH_BYTES:
            raise ServeError(f"The name of the temporary folder is too long (TMPDIR): {folder}")
        patience = Plan.patience + _START_SECONDS * count
        plans = [_api(listener.fileno(), path, patience, stop_seconds) for path in sockets]
        with supervising(None, None, say) as supervisor:
            up = supervisor.start(plans)
            # From now on only they hold it, so that their stop refuses new connections.
            listener.close()
            if up:
                supervisor.watch()


def _api(descriptor: int, metrics_socket: Path, patience: float, stop_seconds: float) -> Plan:
    command = [sys.executable, "-P", "-m", "app.cli", "api", "--socket-fd", str(descriptor)]
    return Plan(
        name=f"API process {metrics_socket.stem}",
        command=[*command, "--metrics-socket", str(metrics_socket)],
        # A user's folder may hold `app`: never import from the current folder.
        environment=os.environ | {"PYTHONSAFEPATH": "1"},
        ready=metrics_socket.exists,
        patience=patience,
        stop_seconds=stop_seconds,
        interrupts=True,
        pass_fds=[descriptor],
    )


def _say(text: str) -> None:
    sys.stderr.write(f"dspt api: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    count, host, port, stop_seconds = sys.argv[1:]
    try:
        serve(int(count), host, int(port), float(stop_seconds), _say)
    except ServeError as error:
        sys.exit(f"dspt api: {error}")
