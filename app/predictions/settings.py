"""Limits and sizes of predictions, as environment variables with the prefix DSPT_PREDICT_."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from dspt.kit.cpus import available_cpus

MIB = 1024**2
GIB = 1024**3


class PredictionSettings(BaseSettings):
    """Every default suits a machine with a few cores and 8 GB."""

    model_config = SettingsConfigDict(
        env_prefix="DSPT_PREDICT_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="`auto`: a GPU if there is one. For several, start an API process for each.",
    )
    engine: Literal["auto", "openvino", "torch"] = Field(
        default="auto",
        description="What runs image towers on a CPU. `auto`: OpenVINO if it is installed, it "
        "knows the tower and its features are the same, else torch.",
    )
    warm_up: str = Field(
        default="",
        description="Backbones to load at start, separated by commas, so that the first requests "
        "need not wait. `/health/ready` says no until they are there.",
    )
    # A dozen ViT-B/16, or two ViT-L/14 and some small ones.
    backbone_bytes: int = Field(
        default=4 * GIB,
        ge=1,
        description="Memory of the weights of backbones; beyond it the least recently used is "
        "dropped, and loaded again when somebody asks.",
    )
    # What one request may hold in memory as tensors: 64 x 0.6 MB at 224 pixels.
    max_images: int = Field(default=64, ge=1, description="Images per request.")
    # Ten thousand photos of 100 kB.
    max_archive_bytes: int = Field(
        default=GIB, ge=1, description="Largest zip of images that is classified in one request."
    )
    # An hour of work on two cores where they are large; more makes a second request.
    max_archive_images: int = Field(
        default=20_000, ge=1, description="Files in a zip that is classified in one request."
    )
    # Four bytes a pixel while decoding, in each of the decoding threads.
    max_pixels: int = Field(default=64_000_000, ge=1, description="Pixels of one image.")
    decode_threads: int = Field(
        default=2, ge=1, description="Threads that decode and resize images."
    )
    # Two threads for two batches do more than two for one, and wait less for decoders between.
    tower_threads: int = Field(
        default_factory=available_cpus,
        ge=1,
        description="Threads that run image towers on a CPU, each a batch of its own on one core. "
        "Left out: one for each CPU. On a GPU it is one.",
    )
    # A CPU's time per image no longer falls beyond 8, and larger batches make others wait.
    batch_images: int | None = Field(
        default=None,
        ge=1,
        description="Images that go through a tower at once. Left out: 8 on a CPU, 64 on a GPU.",
    )
    # While the tower works the next batch gathers by itself; on a CPU waiting longer gains nothing.
    max_wait_ms: float = Field(
        default=0,
        ge=0,
        le=1000,
        description="Milliseconds that an idle tower waits for a batch to fill.",
    )
    # About ten seconds of work on two cores; whoever comes later is told to come back.
    max_waiting_images: int = Field(
        default=512, ge=1, description="Images that may wait for a tower."
    )
    # Load balancers and HTTP libraries give up after a minute.
    deadline_seconds: float = Field(
        default=60,
        gt=0,
        description="A request that has no answer by then gets 503, and is no longer worked at.",
    )
    cached_classifiers: int = Field(
        default=10_000, ge=1, description="Class matrices kept in memory."
    )
    cached_bytes: int = Field(
        default=512 * MIB, ge=1, description="Memory of the class matrices kept."
    )

    @property
    def warm_ups(self) -> list[str]:
        """Names of the backbones to load at start."""
        return [name.strip() for name in self.warm_up.split(",") if name.strip()]
