"""Schemas of the health probes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Live(BaseModel):
    """The process answers, and its background loops make progress."""

    status: Literal["live", "stuck"] = "live"
    stuck_loops: list[str] = Field(
        default=[], description="Background loops without progress; restart the process."
    )


class Check(BaseModel):
    """The state of one dependency."""

    status: Literal["ok", "failing"]
    detail: str = Field(default="", description="What is wrong, and how to fix it.")


class WorkerCheck(BaseModel):
    """Workers. Without one, jobs wait; everything else works."""

    status: Literal["ok", "none", "unknown"]
    count: int = Field(description="Workers with a recent heartbeat.")
    pools: dict[str, int] = Field(default={}, description="Pool -> number of its workers.")
    detail: str = ""


class Checks(BaseModel):
    database: Check
    broker: Check
    storage: Check
    data_dir: Check = Field(
        default_factory=lambda: Check(status="ok"),
        description="The folder of this process, DSPT_DATA_DIR.",
    )
    workers: WorkerCheck
    backbones: Check = Field(
        default_factory=lambda: Check(status="ok"),
        description="Failing until the backbones of DSPT_PREDICT_WARM_UP are loaded.",
    )


class Ready(BaseModel):
    """Ready if this process can do its work: it needs the database, the backbones to load at start,
    and a storage on its own disk.

    Without the broker, a bucket or a worker, jobs wait but predictions go on; these are listed in
    `checks` and do not affect readiness. Nor does a data directory that has caches only.
    """

    status: Literal["ready", "not_ready"]
    stopping: bool = Field(
        default=False, description="The process is about to stop: send it no more requests."
    )
    checks: Checks
    degraded: list[str] = Field(
        default=[], description="Failing dependencies that do not affect readiness."
    )
    backbones: list[str] = Field(description="Backbones in memory; others are loaded on demand.")
    engines: dict[str, str] = Field(
        default_factory=dict,
        description="Backbone -> engine of its image tower: `torch` or `openvino`.",
    )
    precisions: dict[str, str] = Field(
        default_factory=dict,
        description="Backbone -> precision of its image tower: `float32`, or `float16` on a GPU if "
        "the tower gives the same answers in it, which is checked when it is loaded.",
    )
