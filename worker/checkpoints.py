"""Keep a job's checkpoint where the worker that continues the job finds it."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from app.jobs.lifecycle.lease import JobLease
from app.kit import storage_keys
from app.kit.db import UNAVAILABLE
from dspt.errors import Cancelled
from dspt.kit.files import atomic_write
from worker.patience import patiently

_log = structlog.get_logger(__name__)


@contextmanager
def kept_checkpoint(lease: JobLease) -> Iterator[Path]:
    """Yield the path of the checkpoint on this machine, and copy it to a bucket if there is one.

    The file has every epoch; the copy is made every DSPT_CHECKPOINT_SECONDS, and if the block
    raises Cancelled.
    """
    context = lease.context
    path = context.settings.checkpoint_dir / f"{lease.id}.safetensors"
    if context.storage.is_local:
        yield path
        return
    copies = _Copies(lease, path)
    patiently(copies.fetch)
    done = threading.Event()

    def copy_now_and_then() -> None:
        while not done.wait(context.settings.checkpoint_seconds):
            copies.send()

    # Keeps the ids of the job in its log lines.
    run = contextvars.copy_context().run
    thread = threading.Thread(target=run, args=[copy_now_and_then], name="checkpoint", daemon=True)
    thread.start()
    try:
        yield path
    except Cancelled:
        copies.send()
        raise
    finally:
        done.set()
        thread.join()


class _Copies:
    """The checkpoint on this machine and in the bucket."""

    def __init__(self, lease: JobLease, path: Path) -> None:
        self._lease, self._path = lease, path
        self._storage, self._key = lease.context.storage, storage_keys.checkpoint(lease.id)
        self._lock = threading.Lock()
        self._sent: int | None = None  # when the file that was sent last had been written

    def fetch(self) -> None:
        """Take the state from the bucket if it is newer than that on this machine."""
        from dspt.prompt.checkpoint import epochs_done

        with suppress(FileNotFoundError), self._storage.local_copy(self._key) as copy:
            if epochs_done(copy) > epochs_done(self._path):
                atomic_write(self._path, copy.read_bytes())
                self._sent = self._path.stat().st_mtime_ns

    def send(self) -> None:
        """Send the state on this machine unless the bucket has it; a failure costs only time."""
        try:
            with self._lock:
                written = self._path.stat().st_mtime_ns
                request = self._lease.stop_request()
                if written == self._sent or request.lost or request.cancel:
                    return
                self._storage.put_bytes(self._key, self._path.read_bytes())
                self._sent = written
        except FileNotFoundError:  # no epoch is complete
            return
        except (OSError, *UNAVAILABLE) as error:
            _log.warning("cannot copy the checkpoint to the storage; retrying", error=str(error))
