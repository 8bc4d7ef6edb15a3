"""Everything that can be set from outside, as environment variables with the prefix DSPT_."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024**2
GIB = 1024**3


class Settings(BaseSettings):
    """Defaults make one machine work with nothing set; all state lies under `data_dir`."""

    model_config = SettingsConfigDict(
        env_prefix="DSPT_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("dspt", appauthor=False)),
        description="Directory of the embedded database, storage and caches.",
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy URL (`sqlite:///...` or `postgresql://...`). "
        "Left out: SQLite under the data directory.",
    )
    broker_url: str = Field(
        default="",
        description="Redis URL (`redis://...`, `redis+socket:///...`). "
        "No default: `dspt serve` starts a private Redis and sets it.",
    )
    storage_url: str = Field(
        default="",
        description="fsspec URL of a folder or bucket for data sets and models. "
        "Left out: `storage/` under the data directory.",
    )
    host: str = Field(default="127.0.0.1", description="Address that the API binds to.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port that the API binds to.")

    # 4 GiB holds about 40,000 photos of 100 kB; a larger set is better tuned on a share of it.
    max_upload_bytes: int = Field(
        default=4 * GIB, gt=0, description="Largest request body of POST /jobs."
    )
    # A dozen full-size photos; /predict keeps them in memory.
    max_body_bytes: int = Field(
        default=64 * MIB, gt=0, description="Largest body of any other request."
    )

    # 300 a second: no page or script that a person runs needs a tenth of that, a gateway may.
    requests_per_minute: int = Field(
        default=18_000,
        ge=1,
        description="Requests of one API key, or of one address where there are no keys, that "
        "each process of the API answers in a minute.",
    )
    # Days of work for one worker; whoever needs more waits for the first ones to end.
    max_queued_jobs_per_owner: int = Field(
        default=100, ge=1, description="Jobs of one owner that may be unfinished at a time."
    )
    # Weeks of work: a longer queue is a fault of somebody's program.
    max_queued_jobs: int = Field(
        default=1000, ge=1, description="Jobs of all owners that may wait for a worker."
    )
    # Sixteen of the largest uploads.
    max_stored_bytes_per_owner: int = Field(
        default=64 * GIB, ge=1, description="Bytes of one owner's data sets and models."
    )

    local_backbones: list[str] = Field(
        default=[],
        description="Backbones on the worker's disk that jobs may name, as a JSON list such as "
        '`["local-dir:/models/clip"]`. No other path is taken from a request.',
    )

    # Features are cached, so an epoch takes seconds; six hours is a hung job, not a slow one.
    job_time_limit_seconds: float = Field(
        default=6 * 3600, gt=0, description="Longest run of one job."
    )
    # A dead worker's job is back in the queue within three of these.
    heartbeat_seconds: float = Field(
        default=5, gt=0, description="How often workers say that they and their job are alive."
    )
    # Two deaths may be bad luck (a deploy, a reboot); a third one is the job's own doing.
    max_attempts: int = Field(default=3, ge=1, description="Claims after which a lost job fails.")
    housekeeping_seconds: float = Field(
        default=1,
        gt=0,
        description="Pause between two rounds of relaying the outbox and freeing leases.",
    )
    # Often enough for a smooth progress bar; one look serves all listeners.
    event_poll_seconds: float = Field(
        default=0.3, gt=0, description="Pause between two looks for events."
    )
    # A second or two of work on two cores; nobody waits longer for a page.
    max_waiting_requests: int = Field(
        default=500, ge=1, description="Requests that may wait for a thread before more get 503."
    )
    # Each is an open connection, and many systems allow a process 1,024 of them.
    max_listeners: int = Field(
        default=500, ge=1, description="Streams of events that may be open at once."
    )

    # All three are kept for ever unless told otherwise: nobody's photos go by themselves.
    keep_datasets_days: float | None = Field(
        default=None,
        gt=0,
        description="Days after the last job on them for which uploaded photos are kept.",
    )
    keep_events_days: float | None = Field(
        default=None,
        gt=0,
        description="Days after its end for which a job's progress and metrics events are kept.",
    )
    keep_features_days: float | None = Field(
        default=None,
        gt=0,
        description="Days after their last use for which encoded photos are kept.",
    )
    gc_seconds: float = Field(
        default=3600, gt=0, description="Pause between two rounds of deleting what is not needed."
    )

    # Its own, as Prometheus asks each process. Only figures are shown there, so it needs no key.
    worker_metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port for GET /metrics of a worker. Left out: none.",
    )
    worker_metrics_host: str = Field(
        default="127.0.0.1", description="Address that a worker's metrics are bound to."
    )
    otel_endpoint: str = Field(
        default="",
        description="OpenTelemetry collector (OTLP over HTTP, such as http://localhost:4318) that "
        "traces are sent to; OTEL_EXPORTER_OTLP_ENDPOINT is taken too. Left out: no traces.",
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO")
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="`auto`: text on a terminal, JSON otherwise."
    )

    @model_validator(mode="after")
    def _fill_in(self) -> Settings:
        data_dir = self.data_dir.expanduser().absolute()
        object.__setattr__(self, "data_dir", data_dir)
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{data_dir / 'dspt.db'}")
        if not self.storage_url:
            object.__setattr__(self, "storage_url", (data_dir / "storage").as_uri())
        return self

    @property
    def tower_dir(self) -> Path:
        """Image towers as OpenVINO reads them; what is missing is made anew."""
        return self.data_dir / "towers"

    @property
    def feature_dir(self) -> Path:
        """Where encoded images are kept between jobs on one machine."""
        return self.data_dir / "features"

    @property
    def checkpoint_dir(self) -> Path:
        """Where a worker keeps the state of the job it has at work."""
        return self.data_dir / "checkpoints"

    @property
    def scratch_dir(self) -> Path:
        """Where a worker keeps files for the length of a job."""
        return self.data_dir / "scratch"

    @property
    def lease_seconds(self) -> float:
        """A worker that was silent for this long is taken for dead: two renewals are missing."""
        return 2.5 * self.heartbeat_seconds


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read from the environment once."""
    return Settings()
