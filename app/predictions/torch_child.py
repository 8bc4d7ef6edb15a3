"""A process that has torch, so that the API itself need not import it.

It starts with its first call and ends some time after its last one. Calls are carried out one at a
time.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess  # only a program of this package is started  # nosec B404
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, TypeVar

from app.kit.http.errors import ServiceUnavailable
from app.serve.launch import die_with_parent
from dspt.errors import BackboneMismatch, DsptError

if TYPE_CHECKING:
    from PIL import Image

    from app.predictions.tower import Crop, Features
    from dspt.backbones.base import Backbone

T = TypeVar("T")

#: Importing torch and reading weights take seconds, so further calls find the process for a while.
_REST_SECONDS = 60.0


class TorchChild:
    """One per process. Close it at the end."""

    def __init__(self, threads: int) -> None:
        """`threads`: number of threads that torch uses."""
        self._threads = threads
        self._rest_seconds = _REST_SECONDS
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._timer: threading.Timer | None = None

    def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return `work(*arguments)`; all of it can be pickled.

        Raises what `work` raises, and ServiceUnavailable if the process dies.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            pipe = self._pipe or self._start()
            try:
                pipe.send((work, arguments))
                ok, found = pipe.recv()
            except (EOFError, OSError) as error:
                self._end()
                raise ServiceUnavailable(
                    "The process that runs torch has ended; most often it ran out of memory. "
                    "Retry after 5 s.",
                    code="torch_process_ended",
                    headers={"Retry-After": "5"},
                ) from error
            self._timer = threading.Timer(self._rest_seconds, self._rest_if_idle)
            self._timer.daemon = True
            self._timer.start()
        if not ok:
            raise found
        result: T = found
        return result

    def rest(self) -> None:
        """End the process after a running call. A later call starts another one."""
        with self._lock:
            self._end()

    def close(self) -> None:
        """End the process, also during a call."""
        process = self._process
        if process is not None:
            process.kill()  # it has nothing to lose
        self.rest()

    def _rest_if_idle(self) -> None:
        with self._lock:
            if self._timer is threading.current_thread():  # no call came in between
                self._end()

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            command = [sys.executable, "-P", "-m", "app.predictions.torch_child"]
            # A fixed program, and no shell.
            self._process = subprocess.Popen(  # nosec B603
                [*command, str(os.getpid()), str(descriptor), str(self._threads)],
                stdin=subprocess.DEVNULL,
                pass_fds=[descriptor],
            )
        self._pipe = Connection(ours.detach())
        return self._pipe

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._timer = self._pipe = self._process = None


class ChildTower:
    """The image tower of a backbone in such a process."""

    engine = "torch"
    precision = "float32"
    on_cpu = True

    def __init__(self, child: TorchChild, name: str) -> None:
        """Raises what dspt.load_backbone raises."""
        from dspt.backbones.preprocessing import Preprocessing

        about = child.call(on_backbone, _about, name)
        self.name = name
        self.digest: str = about["digest"]
        self.embed_dim: int = about["embed_dim"]
        self.feature_dim: int = about["feature_dim"]
        self.nbytes: int = about["nbytes"]
        self._preprocessing = Preprocessing(about["preprocess"])
        self._child = child

    @property
    def read_side(self) -> int:
        """Pixels that the shorter side of a photo needs."""
        return self._preprocessing.read_side

    def crop(self, image: Image.Image) -> Crop:
        """Resize and crop an RGB image: -> (H, W, 3)."""
        return self._preprocessing.crop(image)

    def encode(self, crops: Crop) -> Features:
        """Encode crops: (B, H, W, 3) -> (B, F), as `Backbone.encode_image`.

        Raises BackboneMismatch if the weights have changed on disk.
        """
        return self._child.call(on_backbone, _encode, self.name, self.digest, crops)


# In the process that has torch.

_backbones: dict[str, Backbone] = {}


def on_backbone(work: Callable[..., T], name: str, *arguments: Any) -> T:
    """Return `work(backbone, *arguments)` for the backbone `name`. The last one stays in memory.

    Raises what `work` and dspt.load_backbone raise.
    """
    from dspt.backbones import load_backbone

    if name not in _backbones:
        _backbones.clear()
        _backbones[name] = load_backbone(name)
    return work(_backbones[name], *arguments)


def _about(backbone: Backbone) -> dict[str, Any]:
    return {
        "digest": backbone.digest,
        "embed_dim": backbone.embed_dim,
        "feature_dim": backbone.feature_dim,
        "nbytes": backbone.nbytes,
        "preprocess": asdict(backbone.preprocess.cfg),
    }


def _encode(backbone: Backbone, digest: str, crops: Crop) -> Features:
    if backbone.digest != digest:
        raise BackboneMismatch(f"the weights of {backbone.name} have changed")
    return backbone.encode(crops)


def _serve(pipe: Connection, threads: int) -> None:
    """Carry out calls until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the API handles Ctrl-C and ends this process
    from dspt.kit.light_torch import import_light

    import_light()
    import torch

    torch.set_num_threads(threads)
    while True:
        try:
            work, arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = True, work(*arguments)
        except Exception as error:  # noqa: BLE001 - the API raises it
            if not isinstance(error, DsptError):
                error.add_note(traceback.format_exc())  # tracebacks cannot be pickled
            answer = False, error
        pipe.send(answer)


if __name__ == "__main__":
    parent, descriptor, threads = map(int, sys.argv[1:])
    die_with_parent(parent)
    _serve(Connection(descriptor), threads)
