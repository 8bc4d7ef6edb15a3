"""The peers: how each is installed and started."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import httpx

from benchmarks.serving.api import EMBEDDINGS, ONE_IMAGE, PREDICT, Api
from benchmarks.skeleton.program import BenchmarkError
from benchmarks.stack import HOST, launched, wait
from dspt.kit.cpus import THREAD_VARIABLES
from tests import services

APPS = Path(__file__).with_name("apps")
_TORCH = f"torch=={version('torch').partition('+')[0]}"
_OPEN_CLIP = f"open_clip_torch=={version('open_clip_torch')}"
_WEB = (_TORCH, _OPEN_CLIP, f"openvino=={version('openvino')}", "litserve", "python-multipart")
"""LitServe needs FastAPI and uvicorn, thus one environment serves three peers."""


@dataclass(frozen=True)
class Peer:
    """One server that classifies images, as its documents advise."""

    name: str
    requirements: Sequence[str]
    """Packages of its environment, as for pip."""
    packages: Sequence[str]
    """Whose versions are recorded."""
    command: Sequence[str]
    """After the Python of the environment; {port} and {hf_weights} are filled in."""
    variables: Mapping[str, str] = field(default_factory=dict)
    api: Api = PREDICT
    model: str = ""
    """Name of the model in a request."""

    @property
    def needs_hf_weights(self) -> bool:
        """Whether it loads weights in the format of transformers."""
        return any("{hf_weights}" in part for part in self.command)


def _litserve(name: str, engine: str, workers: int) -> Peer:
    return Peer(
        name,
        _WEB,
        ("litserve", "uvicorn", "openvino" if engine == "openvino" else "torch"),
        (str(APPS / "litserve_app.py"),),
        {"PEER_ENGINE": engine, "PEER_WORKERS": str(workers)},
        ONE_IMAGE,
    )


PEERS = (
    _litserve("LitServe + OpenVINO", "openvino", 1),
    _litserve("LitServe, torch", "torch", 1),
    Peer(
        "infinity (embeddings only)",
        # aiohttp: without it each image is answered by 500.
        (_TORCH, "infinity-emb[server,torch,vision]", "transformers<4.50", "aiohttp"),
        ("infinity-emb", "transformers", "torch"),
        (
            *("-P", "-m", "infinity_emb.cli", "v2", "--model-id", "{hf_weights}"),
            *("--served-model-name", "clip", "--port", "{port}", "--engine", "torch"),
            *("--device", "cpu", "--no-compile", "--no-model-warmup", "--no-vector-disk-cache"),
        ),
        api=EMBEDDINGS,
        model="clip",
    ),
    Peer(
        "FastAPI, torch",
        _WEB,
        ("fastapi", "uvicorn", "torch"),
        (str(APPS / "fastapi_app.py"),),
        {"PEER_ENGINE": "torch"},
    ),
)


@dataclass(frozen=True)
class Server:
    """A server that is ready."""

    port: int
    key: str
    model: str
    api: Api
    processes: Mapping[str, Sequence[int]]


@contextmanager
def running(
    peer: Peer, python: Path, variables: Mapping[str, str], threads: int, log: Path
) -> Iterator[Server]:
    """Started and answering. All its processes end with the block.

    Raises BenchmarkError with the end of its log where it does not start.
    """
    port = services.free_port()
    settings = {"PEER_PORT": str(port), "PEER_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    settings |= dict.fromkeys(THREAD_VARIABLES, str(threads)) | dict(variables)
    found = {"port": port, "hf_weights": variables["PEER_HF_WEIGHTS"]}
    command = [str(python), *(part.format(**found) for part in peer.command)]
    environment = services.clean_environment(**settings, **peer.variables)
    process = launched(command, environment, log)
    try:
        wait(lambda: process.poll() is not None or _answers(port), f"{peer.name} to start")
        if process.poll() is not None:
            lines = log.read_text(errors="replace")[-2000:]
            raise BenchmarkError(f"{peer.name} ended with {process.returncode}:\n{lines}")
        yield Server(port, "", peer.model, peer.api, {peer.name: [process.pid]})
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://{HOST}:{port}/health").is_success
    except httpx.TransportError:
        return False
