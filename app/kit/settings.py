"""Settings of the service: environment variables with the prefix DSPT_."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from app.kit.pools import DEFAULT_POOL, Pool, PoolName
from app.kit.secret_files import SECRET, SettingsWithSecrets

MIB = 1024**2
GIB = 1024**3


class Settings(SettingsWithSecrets):
    """The defaults work on one machine without any setting; all data is below `data_dir`."""

    model_config = SettingsConfigDict(
        env_prefix="DSPT_",
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("dspt", appauthor=False)),
        description="Directory of the embedded database, storage and caches.",
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy URL (`sqlite:///...` or `postgresql://...`). "
        "Default: SQLite in the data directory.",
        json_schema_extra=SECRET,
    )
    owner_database_url: str = Field(
        default="",
        description="The same database with the role that owns the tables, for `dspt db upgrade` "
        "and `dspt restore` only: they create the role in DSPT_DATABASE_URL, which can then read "
        "and write rows but change no table. Default: DSPT_DATABASE_URL, whose role then owns the "
        "tables.",
        json_schema_extra=SECRET,
    )
    migrate_at_start: bool = Field(
        default=True,
        description="API, worker and commands migrate the database when they start. If false, "
        "they refuse to start until `dspt db upgrade` has done so.",
    )
    # A server accepts 100 by default, for all processes and tools.
    database_pool_size: int = Field(
        default=10,
        ge=2,  # the leader needs one for its lock
        description="Maximum connections of one API process to PostgreSQL; a worker has at most 4.",
    )
    # The API answers within 10 seconds whatever happens: this, and 3 to connect again.
    database_timeout_seconds: float = Field(
        default=5,
        gt=0,
        description="Time limit of one statement on PostgreSQL, and of one look-up of a request. "
        "Afterwards the API answers 503 with `Retry-After`.",
    )
    broker_url: str = Field(
        default="",
        description="Redis URL (`redis://...`, `redis+socket:///...`). "
        "No default: `dspt serve` starts a private Redis and sets it.",
        json_schema_extra=SECRET,
    )
    storage_url: str = Field(
        default="",
        description="`file:///FOLDER` or `s3://BUCKET/PREFIX` for data sets and models. "
        "Default: `storage/` in the data directory.",
        json_schema_extra=SECRET,
    )
    s3_endpoint: str = Field(
        default="",
        pattern=r"^(https?://[^/\s]+/?)?$",
        description="URL (`https://HOST`) of an S3 server. Default: AWS. The environment has the "
        "credentials (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, or a role).",
    )
    s3_region: str = Field(
        default="", description="Region of the bucket. Default: `AWS_REGION`, then `us-east-1`."
    )
    s3_path_style: bool = Field(
        default=True,
        description="Name the bucket in the path of S3 URLs. `false`: in the host name.",
    )
    presigned_uploads: bool = Field(
        default=False,
        description="Clients send the parts of large uploads to the bucket itself, by presigned "
        "URLs. They must be able to reach it.",
    )
    storage_timeout_seconds: float = Field(
        default=5,
        gt=0,
        description="Time limit of one call to a bucket, and of a transfer without progress. "
        "Afterwards the API answers 503 with `Retry-After`.",
    )
    host: str = Field(default="127.0.0.1", description="Address that the API binds to.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port that the API binds to.")
    # One process uses little more than one core for HTTP, and two threads that decode.
    api_workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="API processes that `dspt api` runs on its port. More than one need PostgreSQL "
        "and DSPT_BROKER_URL. `dspt serve` runs one.",
    )
    role: Literal["all", "api", "predict"] = Field(
        default="all",
        description="What an API process does. `predict`: predictions, health and metrics only, "
        "without the loops of the whole installation. `api`: all but predictions, which it "
        "forwards to DSPT_PREDICT_URL; it loads no backbones.",
    )
    bootstrap_key: str = Field(
        default="",
        pattern=r"^([!-~]{32,200})?$",
        repr=False,
        json_schema_extra=SECRET,
        description="An admin key that the API creates at its start, so that a new installation "
        "has one: 32 to 200 ASCII characters without spaces, such as from `openssl rand -hex 32`. "
        "A changed value replaces the key before.",
    )
    no_auth: bool = Field(
        default=False,
        description="Without API keys, accept requests from every user and program of this "
        "machine, proxies included. Default: from programs of the service's own user only.",
    )

    # 4 GiB holds about 40,000 photos of 100 kB; tune on a sample of a larger set.
    max_upload_bytes: int = Field(
        default=4 * GIB,
        gt=0,
        description="Largest zip of photos, for a job, a data set or a batch, also if it is sent "
        "in parts.",
    )
    # A dozen full-size photos, which /predict keeps in memory.
    max_body_bytes: int = Field(
        default=64 * MIB,
        gt=0,
        description="Largest body of a request without such a zip, such as images to classify.",
    )

    max_upload_bytes_in_flight: int | None = Field(
        default=None,
        gt=0,
        description="Bytes of all request bodies that one API process receives at the same time; "
        "beyond them 503 with `Retry-After`. One upload alone is always accepted. Default: half of "
        "the free space for temporary files.",
    )
    min_upload_bytes_per_second: int = Field(
        default=1000,
        ge=1,
        description="Slowest rate of a request body, measured over 30 seconds of waiting for it; "
        "a slower one ends with 408.",
    )

    # 300 per second: enough for a gateway, ten times what a page or script needs.
    requests_per_minute: int = Field(
        default=18_000,
        ge=1,
        description="Requests per minute from one API key, or from one address without keys. With "
        "DSPT_BROKER_URL all API processes count together; if it is away, each by itself.",
    )
    # 1,000 per second: more than a CPU classifies, about half of what a GPU does.
    images_per_minute: int = Field(
        default=60_000,
        ge=1,
        description="Images per minute that POST /predict accepts from one API key, counted as "
        "requests are. A zip of more images is slowed down instead of refused.",
    )
    pools: list[Pool] = Field(
        default=[],
        description="Pools of workers, as a JSON list such as "
        '`[{"name": "gpu", "backbones": ["ViT-L-14/openai"]}, {"name": "cpu", "backbones": "*"}]`. '
        "The first one that takes the backbone of a job, batch or comparison gets it. Default: one "
        "pool, `default`, for all.",
    )
    # Days of work for one worker.
    max_queued_jobs_per_owner: int = Field(
        default=100, ge=1, description="Maximum unfinished jobs, batches and comparisons per owner."
    )
    # Weeks of work: a longer queue points to a faulty client.
    max_queued_jobs: int = Field(
        default=1000,
        ge=1,
        description="Maximum queued jobs, batches and comparisons of all owners.",
    )
    # Sixteen of the largest uploads.
    max_stored_bytes_per_owner: int = Field(
        default=64 * GIB,
        ge=1,
        description="Maximum bytes of data sets, uploads, zips of batches, models and captured "
        "photos per owner.",
    )

    local_backbones: list[str] = Field(
        default=[],
        description="Backbones on the worker's disk that jobs may use, as a JSON list such as "
        '`["local-dir:/models/clip"]`. Requests with any other path are rejected.',
    )

    # Features are cached, so an epoch takes seconds; a job of six hours is stuck.
    job_time_limit_seconds: float = Field(
        default=6 * 3600, gt=0, description="Time limit of one job, or one comparison."
    )
    batch_time_limit_seconds: float = Field(
        default=24 * 3600,
        gt=0,
        description="Seconds that workers may work on one batch; waiting does not count.",
    )
    # The job of a dead worker is queued again within three intervals.
    heartbeat_seconds: float = Field(
        default=5, gt=0, description="Seconds between heartbeats of workers and their jobs."
    )
    # Two lost workers may be a coincidence (a deploy, a reboot); a third one points to the job.
    max_attempts: int = Field(
        default=3,
        ge=1,
        description="Attempts after which the job of a lost worker fails. One that got further "
        "than those before it does not count.",
    )
    housekeeping_seconds: float = Field(
        default=1,
        gt=0,
        description="Seconds between rounds of publishing queued jobs and requeuing lost ones.",
    )
    # Often enough for a smooth progress bar; one poll serves all listeners.
    event_poll_seconds: float = Field(
        default=0.3, gt=0, description="Seconds between polls for new events."
    )
    # One or two seconds of work on two cores.
    max_waiting_requests: int = Field(
        default=500, ge=1, description="Waiting requests beyond which new ones get 503."
    )
    # Longer than the interval of typical probes.
    stop_delay_seconds: float = Field(
        default=5,
        ge=0,
        description="Seconds between SIGTERM and the end of new connections to the API. "
        "`/health/ready` responds 503 meanwhile, so that a load balancer sends requests elsewhere. "
        "`dspt serve` does not wait.",
    )
    stop_timeout_seconds: float = Field(
        default=30,
        ge=1,
        description="Seconds that running requests then have; afterwards they get 503 with "
        "`Retry-After`. The API has stopped 10 seconds later at the latest.",
    )
    cors_origins: list[str] = Field(
        default=[],
        description="Origins of web pages in browsers that may call the API, with a key, as a JSON "
        'list such as `["https://shop.example"]`; `["*"]` allows all. Default: none.',
    )
    private_hosts: list[str] = Field(
        default=[],
        description="Hosts to which webhooks may be sent, and from which images may be fetched "
        "(DSPT_PREDICT_URL_HOSTS), by http and at private addresses, as a JSON list such as "
        '`["hooks.internal"]`. Default: https and public addresses only.',
    )
    signing_key: str = Field(
        default="",
        pattern=r"^([!-~]{32,200})?$",
        repr=False,
        json_schema_extra=SECRET,
        description="Key that secrets of webhooks and `POST /tokens` are derived from: 32 "
        "to 200 ASCII characters without spaces, such as from `openssl rand -hex 32`. Another key "
        "invalidates them. "
        "Default: a file in the storage, which `dspt backup` leaves out.",
    )
    # Eight attempts in 18 hours.
    webhook_retry_seconds: list[Annotated[float, Field(gt=0)]] = Field(
        default=[5, 60, 300, 1800, 7200, 18_000, 36_000],
        max_length=20,
        description="Seconds between the attempts to deliver an event, as a JSON list. After the "
        "last one the delivery has failed; after five in a row the webhook is disabled.",
    )
    # Each is an open connection; many systems limit a process to 1,024.
    max_listeners: int = Field(default=500, ge=1, description="Maximum open event streams.")

    # Default: forever, so that no data is deleted unless the operator says so.
    keep_datasets_days: float | None = Field(
        default=None,
        gt=0,
        description="Days to keep uploaded photos after the last job on them. Default: forever.",
    )
    keep_batches_days: float | None = Field(
        default=None,
        gt=0,
        description="Days to keep batches, with their results, and comparisons after they end. "
        "Default: forever.",
    )
    keep_events_days: float | None = Field(
        default=None,
        gt=0,
        description="Days to keep progress and metrics events after a job ends. Default: forever.",
    )
    # Enough for a smooth curve.
    keep_metrics_events: int = Field(
        default=200,
        ge=2,
        description="Metrics events to keep of a job that ended an hour ago, evenly spaced. Of its "
        "progress events the first of each stage are kept.",
    )
    worker_photo_cache_bytes: int = Field(
        default=20 * GIB,
        ge=0,
        description="Disk for a worker's copies of data sets in a bucket. The least recently used "
        "are deleted, and those unused for a day. 0: keep none.",
    )
    checkpoint_seconds: float = Field(
        default=10,
        gt=0,
        description="Seconds between copies of a running job's checkpoint to a bucket, each a paid "
        "request: the most that is computed again if its machine dies.",
    )
    # About 50,000 thumbnails.
    picture_cache_bytes: int = Field(
        default=512 * MIB,
        ge=0,
        description="Disk for photos as the API shows them, which are then decoded once. The least "
        "recently used are deleted. 0: keep none.",
    )
    keep_features_days: float | None = Field(
        default=None,
        gt=0,
        description="Days to keep encoded photos after their last use. Default: forever.",
    )
    # Of predictions with `capture`, which is off by default.
    keep_captured_days: float = Field(
        default=30,
        gt=0,
        description="Days to keep the photos and answers of predictions with `capture`.",
    )
    # Enough to choose from and to notice drift; 4 GB of photos of 2 MB.
    max_captured_per_model: int = Field(
        default=2000,
        ge=1,
        description="Maximum photos of predictions with `capture` per model. Beyond it the oldest "
        "are deleted, those with feedback last.",
    )
    trash_days: int = Field(
        default=7,
        ge=0,
        description="Days for which garbage collection keeps the files that it removes, in "
        "`trash/` of the storage.",
    )
    gc_seconds: float = Field(
        default=3600, gt=0, description="Seconds between rounds of garbage collection."
    )

    worker_pool: PoolName = Field(
        default=DEFAULT_POOL,
        description="Pool whose work a worker takes. `dspt worker --pool` sets it.",
    )
    # Not the client's choice: it knows neither the machine nor who else uses it.
    worker_device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Device of a worker's jobs: `auto` (a GPU if available), `cpu`, `cuda` or "
        "`cuda:N`. The setting `device` of a job is ignored.",
    )
    worker_precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Arithmetic of the text tower in a worker's jobs. `auto`: bfloat16 where the "
        "processor has it. The setting `precision` of a job is ignored.",
    )
    # Torch takes hundreds of MiB, and two to three seconds of CPU time to import.
    worker_rest_seconds: float = Field(
        default=30,
        gt=0,
        description="Seconds after its last job at which a worker gives the memory of torch and of "
        "the job's backbone back: the process that runs jobs ends and a small one waits. The next "
        "job imports torch and loads its backbone again.",
    )
    worker_jobs_per_process: int = Field(
        default=50,
        ge=1,
        description="Jobs after which a worker replaces the process that runs them, so that its "
        "memory does not grow for ever.",
    )
    # One port per worker, because Prometheus scrapes each process. It serves metrics without a key.
    worker_metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port for GET /metrics of a worker. Default: no metrics.",
    )
    worker_metrics_host: str = Field(
        default="127.0.0.1", description="Address that a worker's metrics are bound to."
    )
    otel_endpoint: str = Field(
        default="",
        pattern=r"^(https?://[^/\s]+(/\S*)?)?$",
        description="OpenTelemetry collector for traces (OTLP over HTTP, such as "
        "http://localhost:4318); OTEL_EXPORTER_OTLP_ENDPOINT works too. Default: no traces.",
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO",
        description="Least important messages to log: `DEBUG`, `INFO`, `WARNING` or `ERROR`.",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="`auto`: text on a terminal, JSON otherwise."
    )

    @field_validator("bootstrap_key")
    @classmethod
    def _check_bootstrap_key(cls, key: str) -> str:
        if key.startswith("dspt_"):  # such a key contains the id of its row
            raise ValueError("must not be a key that `dspt keys create` has printed")
        return key

    @field_validator("pools")
    @classmethod
    def _check_pools(cls, pools: list[Pool]) -> list[Pool]:
        if len({pool.name for pool in pools}) < len(pools):
            raise ValueError("two pools have the same name")
        return pools

    @model_validator(mode="after")
    def _fill_in(self) -> Settings:
        data_dir = self.data_dir.expanduser().absolute()
        object.__setattr__(self, "data_dir", data_dir)
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{data_dir / 'dspt.db'}")
        if not self.pools:
            object.__setattr__(self, "pools", [Pool(name=DEFAULT_POOL, backbones="*")])
        if not self.storage_url:
            object.__setattr__(self, "storage_url", (data_dir / "storage").as_uri())
        return self

    @property
    def sqlite_file(self) -> Path | None:
        """The file of an SQLite database; None for PostgreSQL."""
        start, found, path = self.database_url.partition("sqlite:///")
        return Path(path) if found and not start else None

    @property
    def tower_dir(self) -> Path:
        """Cache of image towers compiled for OpenVINO."""
        return self.data_dir / "towers"

    @property
    def feature_dir(self) -> Path:
        """Cache of encoded images on this machine."""
        return self.data_dir / "features"

    @property
    def photo_dir(self) -> Path:
        """Copies of data sets that are in a bucket."""
        return self.data_dir / "photos"

    @property
    def picture_dir(self) -> Path:
        """Photos as the API shows them."""
        return self.data_dir / "pictures"

    @property
    def checkpoint_dir(self) -> Path:
        """Checkpoints of the running job of a worker."""
        return self.data_dir / "checkpoints"

    @property
    def scratch_dir(self) -> Path:
        """Temporary files of workers."""
        return self.data_dir / "scratch"

    @property
    def lease_seconds(self) -> float:
        """Seconds without a heartbeat after which a worker is considered dead: two are missing."""
        return 2.5 * self.heartbeat_seconds

    @property
    def stop_seconds(self) -> float:
        """Longest time that a stop of the API takes; afterwards it may be killed."""
        return self.stop_delay_seconds + self.stop_timeout_seconds + 10


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process, read from the environment once."""
    return Settings()
