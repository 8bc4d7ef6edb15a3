"""Why `dspt serve` does not start, or ends."""

from __future__ import annotations


class ServeError(Exception):
    """The message says what is wrong and how to mend it; it is shown as it stands."""


class AlreadyRunning(ServeError):
    """Another `dspt serve` holds the data directory."""


class PartFailed(ServeError):
    """A part died, or was not ready in time."""
