"""Read the health report of a data set, which its jobs make."""

from __future__ import annotations

from dspt_client.schemas.datasets import DatasetHealth

from app.access.caller import Caller
from app.datasets import repository, service
from app.kit.context import Context
from app.kit.http.errors import Conflict, NotFound


def find(context: Context, caller: Caller, dataset_id: str) -> DatasetHealth:
    """Return the report of the newest job that read all of the data set.

    Raises NotFound, also if it belongs to another owner, and Conflict while the first job runs.
    """
    with context.database.read() as session:
        service.find(session, caller, dataset_id)
        job = repository.newest_health(session, dataset_id)
        if job is not None:
            return DatasetHealth.model_validate(
                {
                    **(job.health or {}),
                    "dataset_id": dataset_id,
                    "job_id": job.id,
                    "created_at": job.finished_at,
                }
            )
        running = repository.unfinished_job(session, dataset_id)
    if running is not None:
        raise Conflict(
            f"Job {running.id} on this data set is {running.status}. The health report is "
            "available once the job has ended.",
            code="job_not_finished",
        )
    raise NotFound(
        "This data set has no health report: no job on it has succeeded or found the data invalid "
        "since the service makes such reports. Start a job on it, or run `dspt check` on the "
        "photos.",
        code="no_health_report",
    )
