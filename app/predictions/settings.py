"""Limits and sizes of predictions, as environment variables with the prefix DSPT_PREDICT_."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024**2


class PredictionSettings(BaseSettings):
    """Every default suits a machine with a few cores and 8 GB."""

    model_config = SettingsConfigDict(
        env_prefix="DSPT_PREDICT_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="`auto`: a GPU if there is one.",
    )
    engine: Literal["auto", "openvino", "torch"] = Field(
        default="auto",
        description="What runs image towers on a CPU. `auto`: OpenVINO if it is installed, it "
        "knows the tower and its features are the same, else torch.",
    )
    warm_up: str = Field(
        default="",
        description="Backbone to load at start, so that the first request need not wait.",
    )
    # What one request may hold in memory as tensors: 64 x 0.6 MB at 224 pixels.
    max_images: int = Field(default=64, ge=1, description="Images per request.")
    # Four bytes a pixel while decoding, in each of the decoding threads.
    max_pixels: int = Field(default=64_000_000, ge=1, description="Pixels of one image.")
    decode_threads: int = Field(
        default=2, ge=1, description="Threads that decode and resize images."
    )
    # A tower's speed per image no longer grows beyond this on a CPU, and hardly on a GPU.
    batch_images: int = Field(
        default=32, ge=1, description="Images that go through a tower at once."
    )
    # About ten seconds of work on two cores; whoever comes later is told to come back.
    max_waiting_images: int = Field(
        default=512, ge=1, description="Images that may wait for a tower."
    )
    cached_classifiers: int = Field(
        default=4096, ge=1, description="Class matrices kept in memory."
    )
    cached_bytes: int = Field(
        default=512 * MIB, ge=1, description="Memory of the class matrices kept."
    )
