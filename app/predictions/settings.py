"""Settings of predictions: environment variables with the prefix DSPT_PREDICT_."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from dspt.kit.cpus import available_cpus
from dspt.kit.memory import available_memory

MIB = 1024**2
GIB = 1024**3
_URL = r"https?://[^/\s,]+(/[^\s,]*)?"


def _share(share: float, most: int) -> int:
    """Return a share of the memory that this process may use, at most `most` bytes."""
    memory = available_memory()
    return most if memory is None else min(most, int(share * memory))


def shares(processes: int) -> dict[str, str]:
    """Return environment variables for each of several processes that share this machine.

    What the environment sets already holds for each process as it is.
    """
    chosen = PredictionSettings().model_fields_set
    each = {
        "tower_threads": max(1, available_cpus() // processes),
        "backbone_bytes": _share(1 / 2 / processes, 4 * GIB),
        "cached_bytes": _share(1 / 16 / processes, 512 * MIB),
    }
    return {
        f"DSPT_PREDICT_{name.upper()}": str(value)
        for name, value in each.items()
        if name not in chosen
    }


class PredictionSettings(BaseSettings):
    """The defaults suit a machine with a few cores and 8 GB."""

    model_config = SettingsConfigDict(
        env_prefix="DSPT_PREDICT_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="`cpu`, `cuda`, `cuda:N` or `auto`: a GPU if available. With several GPUs, "
        "start one API process each.",
    )
    engine: Literal["auto", "openvino", "torch"] = Field(
        default="auto",
        description="Engine of image towers on a CPU. `auto`: OpenVINO if it is installed, "
        "supports the tower and returns the same features; otherwise torch.",
    )
    warm_up: str = Field(
        default="",
        description="Backbones to load at start, separated by commas, so that the first requests "
        "need not wait. Until they are loaded, `/health/ready` responds 503.",
    )
    # A dozen ViT-B/16, or two ViT-L/14 and some small ones.
    backbone_bytes: int = Field(
        default_factory=lambda: _share(1 / 2, 4 * GIB),
        ge=1,
        description="Bytes of backbone weights in memory; beyond it the least recently used "
        "backbone is evicted, and loaded again on demand. Default: 4 GiB, at most half of the "
        "memory of the container or machine.",
    )
    # Bounds the tensors of one request: 64 x 0.6 MB at 224 pixels.
    max_images: int = Field(default=64, ge=1, description="Maximum images per request.")
    # Ten thousand photos of 100 kB.
    max_archive_bytes: int = Field(
        default=GIB, ge=1, description="Largest zip of images per request."
    )
    url_hosts: list[str] = Field(
        default=[],
        description="Hosts from which images in JSON may be fetched by https URLs, as a JSON list "
        'such as `["images.example"]`. Default: none.',
    )
    # An hour of work on two cores if the images are large.
    max_archive_images: int = Field(
        default=20_000, ge=1, description="Maximum files in a zip of images."
    )
    # Four bytes per pixel while decoding, in each decoding thread.
    max_pixels: int = Field(default=64_000_000, ge=1, description="Maximum pixels of one image.")
    decode_threads: int = Field(
        default=2, ge=1, description="Threads that decode and resize images."
    )
    # Two threads with a batch each do more than two threads on one batch.
    tower_threads: int = Field(
        default_factory=available_cpus,
        ge=1,
        description="Threads that run image towers on a CPU, each with its own batch on one core. "
        "Default: one per CPU. On a GPU there is one thread.",
    )
    # On a CPU larger batches are not faster per image, and make other requests wait.
    batch_images: int | None = Field(
        default=None,
        ge=1,
        description="Images per batch. Default: 8 on a CPU, 64 on a GPU.",
    )
    # While the tower runs, the next batch fills by itself; on a CPU waiting longer gains nothing.
    max_wait_ms: float = Field(
        default=0,
        ge=0,
        le=1000,
        description="Milliseconds that an idle image tower waits for a batch to fill.",
    )
    # About ten seconds of work on two cores.
    max_waiting_images: int = Field(
        default=512,
        ge=1,
        description="Images that may wait for an image tower; beyond it requests get 503.",
    )
    max_waiting_images_per_key: int | None = Field(
        default=None,
        ge=1,
        description="Images of one API key that may wait; beyond it its requests get 429. Default: "
        "half of DSPT_PREDICT_MAX_WAITING_IMAGES.",
    )
    # Load balancers and HTTP libraries give up after a minute.
    deadline_seconds: float = Field(
        default=60,
        gt=0,
        description="Time limit of a request, after which it is cancelled and gets 503.",
    )
    cached_classifiers: int = Field(
        default=10_000, ge=1, description="Maximum class matrices in memory."
    )
    cached_bytes: int = Field(
        default_factory=lambda: _share(1 / 16, 512 * MIB),
        ge=1,
        description="Maximum bytes of class matrices in memory. Default: 512 MiB, at most a "
        "sixteenth of the memory of the container or machine.",
    )

    url: str = Field(
        default="",
        pattern=rf"^({_URL}(\s*,\s*{_URL})*)?$",
        description="Addresses (`http://HOST:PORT`) of processes with DSPT_ROLE=predict, separated "
        "by commas, to which those with DSPT_ROLE=api forward predictions: those for one backbone "
        "to the same one while it is not busy. Without it they answer 503.",
    )

    @property
    def urls(self) -> list[str]:
        """The addresses in `url`."""
        return [url.strip() for url in self.url.split(",") if url.strip()]

    @property
    def waiting_images_per_key(self) -> int:
        """Images of one API key that may wait."""
        return self.max_waiting_images_per_key or max(1, self.max_waiting_images // 2)

    @property
    def warm_ups(self) -> list[str]:
        """Names of the backbones to load at start."""
        return [name.strip() for name in self.warm_up.split(",") if name.strip()]
