"""Keep to the files of the Hugging Face hub that were used first.

A repository may change its files, and any program may change the cache. Models store the digest of
their backbone, but the first job on changed weights would not notice.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from dspt.errors import WeightsUnavailable
from dspt.kit.files import atomic_write

_log = logging.getLogger(__name__)
_RECORD = "dspt.json"


@dataclass(frozen=True)
class Pin:
    """The version of a file to use."""

    revision: str
    """Commit of the repository."""
    sha256: str


PINNED: Mapping[tuple[str, str], Pin] = MappingProxyType({})
"""(repository, file name) -> pin, where it is known beforehand.

Other files are pinned when they are first used, in `dspt.json` in the repository's cache folder;
its entries have the form of these.
"""


def pin_of(repo: str, filename: str, cache: Path) -> Pin | None:
    """Return the pin of a file, if any. cache: folder of the repository in the hub's cache."""
    return PINNED.get((repo, filename)) or _read(cache / _RECORD).get(filename)


def check(repo: str, filename: str, file: Path) -> None:
    """Compare a cached file with its pin; pin it if it has none.

    file: its path in a snapshot of the cache. Raises WeightsUnavailable if it differs.
    """
    snapshots = next(parent for parent in file.parents if parent.name == "snapshots")
    record = snapshots.parent / _RECORD
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    pin = pin_of(repo, filename, snapshots.parent)
    if pin is None:
        revision = file.relative_to(snapshots).parts[0]
        _write(record, filename, Pin(revision, found))
    elif pin.sha256 != found:
        reset = (
            "install a version of DSPT that knows the new file"
            if (repo, filename) in PINNED
            else f"delete {record}"
        )
        raise WeightsUnavailable(
            f"{file} has changed: its SHA-256 is {found}, but {pin.sha256} is expected. If you did "
            f"not replace it, delete the folder {snapshots.parent} and let it be downloaded again. "
            f"To use the new file on purpose, {reset}; models that were tuned on the old one "
            "need to be tuned again",
            param="backbone",
        )


def _read(record: Path) -> dict[str, Pin]:
    try:
        return {name: Pin(**pin) for name, pin in json.loads(record.read_text("utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        _log.warning("cannot read %s, so its files are pinned again: %s", record, error)
        return {}


def _write(record: Path, filename: str, pin: Pin) -> None:
    pins = {name: asdict(each) for name, each in (_read(record) | {filename: pin}).items()}
    try:
        atomic_write(record, json.dumps(pins, indent=2, sort_keys=True).encode() + b"\n")
    except OSError as error:  # a cache that may only be read
        _log.warning("cannot pin %s in %s: %s", filename, record, error)
