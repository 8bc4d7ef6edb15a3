"""The connection to the broker, set up alike for those who send and those who receive."""

from __future__ import annotations

from celery import Celery

from app.kit.settings import Settings

QUEUE = "dspt"
RUN_JOB = "worker.run_job"


class BrokerNotSetError(ValueError):
    """DSPT_BROKER_URL is missing."""

    def __init__(self) -> None:
        super().__init__(
            "DSPT_BROKER_URL is not set. Set it to a Redis, such as redis://localhost:6379/0, "
            "or use `dspt serve`, which starts its own."
        )


def celery_app(settings: Settings) -> Celery:
    """A Celery application on the broker of `settings`; raises BrokerNotSetError without one."""
    if not settings.broker_url:
        raise BrokerNotSetError
    # The job stops itself at its limit; this kills a process that no longer can.
    hard_limit = int(settings.job_time_limit_seconds) + 300
    # Redis gives a message out again after this time without an acknowledgement. It has to be
    # longer than any job, in each place where a Redis transport looks for it.
    visibility = {"visibility_timeout": hard_limit + 600}
    app = Celery("dspt", set_as_current=False)
    app.conf.update(
        broker_url=settings.broker_url,
        broker_transport_options=visibility
        | {"socket_connect_timeout": 5, "socket_keepalive": True},
        result_backend_transport_options=visibility,
        visibility_timeout=visibility["visibility_timeout"],
        broker_connection_retry_on_startup=True,
        task_default_queue=QUEUE,
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_time_limit=hard_limit,
        # The forked process imports torch before it says that it is up.
        worker_proc_alive_timeout=300,
        worker_pool="prefork",
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app
