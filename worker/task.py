"""One attempt of a worker at a leased row of any kind."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Generic, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.leased.kind import R
from app.leased.lease import L, StepRefusedError
from dspt.errors import Cancelled
from worker.failures import explain, job_error
from worker.patience import patiently
from worker.telemetry import Attempt

_log = structlog.get_logger(__name__)
P = TypeVar("P")
T = TypeVar("T")

#: Images done together. While the image tower runs one part, the next is read.
PART = 32


class Task(ABC, Generic[L, R]):
    """An attempt at `row` under `lease`; `attempt` measures it."""

    def __init__(self, lease: L, row: R, attempt: Attempt) -> None:
        self.lease, self.row, self.attempt = lease, row, attempt
        self.context, self.noun = lease.context, lease.kind.noun
        self._began = time.monotonic()

    @abstractmethod
    def work(self) -> None:
        """Do all of it, and move the row to succeeded.

        Raises Cancelled if it has to stop before, and StepRefusedError.
        """

    @abstractmethod
    def time_limit(self) -> tuple[float, str]:
        """Return for how many seconds this attempt may go on, and what to do about it."""

    def flush(self) -> None:
        """Write what is buffered, before the row fails."""

    def about(self, error: Exception) -> Mapping[str, Any]:
        """Return columns to set when the row fails because of `error`."""
        return {}

    @property
    def seconds(self) -> float:
        """Seconds since the attempt began."""
        return time.monotonic() - self._began

    @property
    def out_of_time(self) -> bool:
        return self.seconds > self.time_limit()[0]

    def go_on(self) -> None:
        """Raise Cancelled if cancelled, lost, out of time, or if the worker is stopping."""
        request = patiently(self.lease.stop_request)
        if request.cancel or request.release or request.lost or self.out_of_time:
            raise Cancelled(f"the {self.noun} has to stop")

    def run(self) -> str:
        """Work; return the outcome."""
        try:
            self.work()
        except (Cancelled, StepRefusedError):
            return self._settle()
        except SQLAlchemyError:
            raise
        except Exception as error:  # noqa: BLE001 - any error must end the row
            return self._fail(explain(error, self.noun, self.lease.id), self.about(error))
        _log.info(f"{self.noun} succeeded")
        return "succeeded"

    def _settle(self) -> str:
        """End a row that stopped early, by its stop request; return the outcome."""
        request = patiently(self.lease.stop_request)
        if request.lost:
            _log.warning("lease lost")
            return "lost"
        if request.cancel:
            patiently(self.lease.cancelled)
            _log.info(f"{self.noun} cancelled")
            return "cancelled"
        try:
            if not self.out_of_time:
                patiently(self.lease.release)
                _log.info(f"{self.noun} returned to the queue")
                return "given_back"
            error = job_error("time_limit", self.time_limit()[1])
            patiently(lambda: self.lease.fail(error))
            return "failed"
        except StepRefusedError:  # just cancelled
            return self._settle()

    def _fail(self, error: Mapping[str, Any], values: Mapping[str, Any]) -> str:
        try:
            self.flush()
            patiently(lambda: self.lease.fail(error, **values))
        except StepRefusedError:  # just cancelled or lost
            return self._settle()
        return "failed"


def one_ahead(parts: Sequence[P], begin: Callable[[P], T]) -> Iterator[tuple[P, T]]:
    """Yield each part with what `begin` returns for it, called while the part before is in use."""
    begun = deque(begin(part) for part in parts[:1])
    for part, following in zip_longest(parts, parts[1:]):
        if following is not None:
            begun.append(begin(following))
        yield part, begun.popleft()
