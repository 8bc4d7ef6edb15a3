"""The Celery configuration that API and worker share."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from app.kit.pools import queue_of
from app.kit.settings import Settings

if TYPE_CHECKING:  # the API runs without a broker, too
    from celery import Celery

RUN_JOB = "worker.run_job"


class BrokerNotSetError(ValueError):
    """DSPT_BROKER_URL is missing."""

    def __init__(self) -> None:
        super().__init__(
            "DSPT_BROKER_URL is not set. Set it to a Redis, such as redis://localhost:6379/0, "
            "or use `dspt serve`, which starts its own."
        )


def celery_app(settings: Settings) -> Celery:
    """Return a Celery application on the configured broker. Raises BrokerNotSetError."""
    if not settings.broker_url:
        raise BrokerNotSetError
    import celery.utils.imports

    # Celery puts the current folder first on sys.path while it imports its own parts; a file there
    # named like one of the modules that these need (calendar.py) would run instead.
    celery.utils.imports.cwd_in_path = nullcontext
    # A job or batch stops itself at its time limit; this kills a process that cannot.
    limits = settings.job_time_limit_seconds, settings.batch_time_limit_seconds
    hard_limit = int(max(limits)) + 300
    # Redis redelivers a message that is not acknowledged within this time. It must exceed any job,
    # and be set in each place where Redis transports read it.
    visibility = {"visibility_timeout": hard_limit + 600}
    app = celery.Celery("dspt", set_as_current=False)
    app.conf.update(
        broker_url=settings.broker_url,
        broker_transport_options=visibility
        | {
            "socket_connect_timeout": 5,
            # Without it a command to a silent Redis waits for ever.
            "socket_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
        result_backend_transport_options=visibility,
        visibility_timeout=visibility["visibility_timeout"],
        broker_connection_retry_on_startup=True,
        task_default_queue=queue_of(settings.worker_pool),
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_time_limit=hard_limit,
        # On a busy machine a forked process needs longer than the default of 4 seconds.
        worker_proc_alive_timeout=60,
        worker_pool="prefork",
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app
