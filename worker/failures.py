"""Map exceptions to the error that a failed job, batch or comparison shows."""

from __future__ import annotations

import errno
from typing import Any

import structlog

from dspt.errors import DatasetError, DsptError
from worker.jsonable import jsonable

_log = structlog.get_logger(__name__)


def explain(error: Exception, noun: str, row_id: str) -> dict[str, Any]:
    """Return {code, message, param, problems}; internal details go to the log only.

    noun: `job`, `batch` or `comparison`.
    """
    if isinstance(error, DsptError):
        _log.info(f"{noun} failed", code=error.code, error=error.message)
        problems = error.problems if isinstance(error, DatasetError) else ()
        return job_error(
            error.code,
            error.message,
            param=error.param,
            problems=[{"where": p.where, "code": p.code, "message": p.message} for p in problems],
        )
    code, message = _unexpected(error, noun, row_id)
    _log.error(f"{noun} failed", code=code, exc_info=error)
    return job_error(code, message)


def job_error(
    code: str, message: str, *, param: str | None = None, problems: Any = ()
) -> dict[str, Any]:
    """Return an error in the form of the column `error`."""
    error: dict[str, Any] = jsonable(
        {"code": code, "message": message, "param": param, "problems": list(problems)}
    )
    return error


def _unexpected(error: Exception, noun: str, row_id: str) -> tuple[str, str]:
    again = f"retry the {noun}."
    if _is_out_of_memory(error):
        detail = str(error).splitlines()[0] if str(error) else "no details"
        lower = "Lower `augment_views`, `batch_size` or the number of images."
        more = f"Give the worker more memory, then {again}"
        return "out_of_memory", f"Out of memory ({detail}). {lower if noun == 'job' else more}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "storage_full",
            "The server's disk is full, so the result cannot be stored. Free space, then " + again,
        )
    if isinstance(error, FileNotFoundError):
        return (
            "file_missing",
            f"A file of this {noun} is missing from the storage. Upload it again.",
        )
    if isinstance(error, OSError):
        return (
            "storage_failed",
            f"The server's storage failed ({error.strerror or type(error).__name__}). Once it is "
            f"available, {again}",
        )
    return (
        "internal_error",
        f"Internal error. The worker's log has the details under {noun}_id {row_id}.",
    )


def _is_out_of_memory(error: Exception) -> bool:
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError)
    import torch  # imported already, if the error is torch's

    # On a CPU torch raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
