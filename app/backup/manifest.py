"""Layout of a backup folder.

backup.json                  the manifest, written last: without it the folder is no backup
database-TIME/TABLE.jsonl    the rows of a table, one JSON object per line
database-TIME/files.jsonl    the stored files that the rows refer to, with sizes and digests
files/KEY                    copies of these files, unless left out
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from dspt.kit.files import atomic_write

MANIFEST = "backup.json"
FILES = "files.jsonl"
#: Called with bytes done and bytes in all.
OnProgress = Callable[[int, int], None]


class BackupError(Exception):
    """A backup cannot be made, read or restored; the message says why and how to go on."""


class Table(BaseModel):
    """The dump of one table."""

    rows: int
    sha256: str


class StoredFile(BaseModel):
    """A stored file that the database refers to."""

    key: str
    size_bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a backup consists of."""

    format: Literal[1] = 1
    created_at: datetime
    dspt: str
    """Version of DSPT that made it."""
    revision: str
    """Alembic revision of the database schema."""
    installation: str | None
    """Id of the installation; null before revision 0007."""
    dump: str
    """Name of the folder with the tables."""
    tables: dict[str, Table]
    files: int
    files_bytes: int
    files_sha256: str
    """Of files.jsonl."""
    copied: bool
    """Whether the backup contains copies of the files."""
    missing: list[str]
    """Keys of files that the storage lacked, or that were damaged, when the backup was made."""


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest. Raises BackupError."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise BackupError(f"{folder} is not a complete backup: it has no {MANIFEST}.") from error
    except (ValidationError, OSError) as error:
        raise BackupError(f"{folder / MANIFEST} cannot be read: {error}") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, which completes the backup."""
    atomic_write(folder / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")


def read_files(folder: Path, manifest: Manifest) -> list[StoredFile]:
    """Return the list of files."""
    lines = (folder / manifest.dump / FILES).read_text("utf-8").splitlines()
    return [StoredFile.model_validate_json(line) for line in lines]


def copy_of(folder: Path, key: str) -> Path:
    """Return the path of a file's copy."""
    return folder / "files" / key


def problems_of_dump(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Yield what is missing or damaged among tables and list of files."""
    expected = {f"{name}.jsonl": table.sha256 for name, table in manifest.tables.items()}
    for name, sha256 in {**expected, FILES: manifest.files_sha256}.items():
        path = folder / manifest.dump / name
        if not path.is_file():
            yield f"{path} is missing"
        elif digest_of(path) != sha256:
            yield f"{path} is damaged"


def problems_of_copies(folder: Path, manifest: Manifest) -> Iterator[str | int]:
    """Yield what is missing or damaged among the copies; of each sound copy, its size."""
    for file in read_files(folder, manifest) if manifest.copied else []:
        path = copy_of(folder, file.key)
        if not path.is_file():
            yield f"{path} is missing"
        elif path.stat().st_size != file.size_bytes or digest_of(path) != file.sha256:
            yield f"{path} is damaged"
        else:
            yield file.size_bytes


def digest_of(path: Path) -> str:
    """Return the SHA-256 digest (hex) of a local file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
