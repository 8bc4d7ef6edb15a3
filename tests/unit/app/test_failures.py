"""What a job says about its end."""

from __future__ import annotations

import errno

import pytest
import torch

from dspt.errors import ConfigError, DatasetError, Problem
from worker.failures import explain


def cpu_out_of_memory() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    return caught.value


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), "out_of_memory", "no details"),
        (cpu_out_of_memory(), "out_of_memory", "augment_views"),
        (torch.OutOfMemoryError("CUDA out of memory.\nmore"), "out_of_memory", "(CUDA out of mem"),
        (
            OSError(errno.ENOSPC, "No space left", "/secret"),
            "storage_full",
            "Free space, then retry the job.",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file", "/secret"), "file_missing", "Upload it"),
        (
            OSError(errno.EIO, "Input/output error", "/secret"),
            "storage_failed",
            "Input/output err",
        ),
        (ConnectionError(), "storage_failed", "(ConnectionError)"),
        (ValueError("/secret"), "internal_error", "job_id job_1"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_each_failure_has_a_code_and_reveals_no_paths(
    error: Exception, code: str, words: str
) -> None:
    told = explain(error, "job", "job_1")
    assert told["code"] == code
    assert words in told["message"]
    assert "/secret" not in str(told)


def test_all_problems_of_a_data_set_are_reported() -> None:
    told = explain(DatasetError([Problem("a.jpg", "bad_image", "not an image")]), "job", "job_1")
    assert (told["code"], told["param"]) == ("bad_image", "a.jpg")
    assert told["problems"] == [{"where": "a.jpg", "code": "bad_image", "message": "not an image"}]


def test_errors_with_a_fix_are_passed_on() -> None:
    told = explain(ConfigError("lr is too large", param="lr"), "job", "job_1")
    assert (told["message"], told["param"], told["problems"]) == ("lr is too large", "lr", [])


def test_a_failed_batch_is_named_as_one() -> None:
    assert "batch_id bat_1" in explain(ValueError(), "batch", "bat_1")["message"]
    assert "retry the batch" in explain(MemoryError(), "batch", "bat_1")["message"]
    assert "retry the batch" in explain(OSError(errno.ENOSPC, "x"), "batch", "bat_1")["message"]
