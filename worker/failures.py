"""From whatever ended a job to the error that the job shows."""

from __future__ import annotations

import errno
from typing import Any

import structlog
import torch

from dspt.errors import DatasetError, DsptError
from worker.jsonable import jsonable

_log = structlog.get_logger(__name__)


def explain(error: Exception, job_id: str) -> dict[str, Any]:
    """{code, message, param, problems}; the log gets what is nobody's business outside."""
    if isinstance(error, DsptError):
        _log.info("job failed", code=error.code, error=error.message)
        problems = error.problems if isinstance(error, DatasetError) else ()
        return job_error(
            error.code,
            error.message,
            param=error.param,
            problems=[{"where": p.where, "code": p.code, "message": p.message} for p in problems],
        )
    code, message = _unforeseen(error, job_id)
    _log.error("job failed", code=code, exc_info=error)
    return job_error(code, message)


def job_error(
    code: str, message: str, *, param: str | None = None, problems: Any = ()
) -> dict[str, Any]:
    """An error as a job row keeps it."""
    error: dict[str, Any] = jsonable(
        {"code": code, "message": message, "param": param, "problems": list(problems)}
    )
    return error


def _unforeseen(error: Exception, job_id: str) -> tuple[str, str]:
    again = f"try the job again (POST /jobs/{job_id}/retry)."
    if _is_out_of_memory(error):
        detail = str(error).splitlines()[0] if str(error) else "no details"
        return (
            "out_of_memory",
            f"Memory ran out ({detail}). Lower `augment_views`, `batch_size` or the number of "
            "images.",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "storage_full",
            "There is no room left to store the result. Make room on the server's disk, then "
            + again,
        )
    if isinstance(error, FileNotFoundError):
        return "file_missing", "A file of this job is no longer in the storage; upload it again."
    if isinstance(error, OSError):
        return (
            "storage_failed",
            f"The server's storage failed ({error.strerror or type(error).__name__}). Once it "
            f"works again, {again}",
        )
    return (
        "internal_error",
        "Something went wrong here that was not foreseen; the worker's log has it under job_id "
        f"{job_id}.",
    )


def _is_out_of_memory(error: Exception) -> bool:
    # On a CPU torch has no class of its own for it.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
