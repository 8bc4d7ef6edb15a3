"""What the probes answer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Check(BaseModel):
    """One thing that the API depends on."""

    status: Literal["ok", "failing"]
    detail: str = Field(default="", description="What is wrong, and how to mend it.")


class WorkerCheck(BaseModel):
    """Without a worker jobs wait; everything else works."""

    status: Literal["ok", "none", "unknown"]
    count: int = Field(description="Workers that reported lately.")
    detail: str = ""


class Checks(BaseModel):
    database: Check
    broker: Check
    storage: Check
    workers: WorkerCheck
    backbones: Check = Field(
        default_factory=lambda: Check(status="ok"),
        description="Failing until those are loaded that DSPT_PREDICT_WARM_UP names.",
    )


class Ready(BaseModel):
    """Ready if database, broker, storage and the backbones that are to be loaded at start are.

    A missing worker is told, but no obstacle.
    """

    status: Literal["ready", "not_ready"]
    checks: Checks
    backbones: list[str] = Field(description="Backbones in memory; others load when needed.")
    engines: dict[str, str] = Field(
        default_factory=dict,
        description="Of each of them, what runs its image tower: `torch` or `openvino`.",
    )
