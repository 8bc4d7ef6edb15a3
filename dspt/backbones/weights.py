"""Where the weights of a backbone are. Needs no torch, so any process can download them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants

from dspt.backbones import hub
from dspt.errors import WeightsUnavailable

LOCAL_DIR = "local-dir:"
"""Start of the name of a backbone in a local folder."""


@dataclass(frozen=True)
class Weights:
    """A local file, or a file of a repository of the hub."""

    name: str
    """Name of the backbone."""
    file: Path | None = None
    """Local file; None if the weights come from the hub."""
    repo: str | None = None
    filenames: tuple[str, ...] = ()
    """Possible names of the weights on the hub, the preferred one first."""

    def is_local(self) -> bool:
        """Return whether they are on this machine. No network."""
        return self.repo is None or hub.cached(self.repo, self.filenames) is not None

    def stamp(self) -> tuple[tuple[str, int, int, int], ...]:
        """Return what changes with the weights and the files beside them. No network.

        Name, inode, bytes and time of change (ns) of each file of their folder; nothing if they
        are part of DSPT or not on this machine.
        """
        file = self.file
        if file is None and self.repo is not None:
            file = hub.cached(self.repo, self.filenames)
        if file is None:
            return ()
        states = [(each.name, each.stat()) for each in file.parent.iterdir()]
        return tuple(
            sorted((name, state.st_ino, state.st_size, state.st_mtime_ns) for name, state in states)
        )

    def fetch(self) -> Path:
        """Return the file; download it if necessary. Raises WeightsUnavailable."""
        if self.file is not None:
            return self.file
        if self.repo is None:
            raise WeightsUnavailable(
                f"the weights of {self.name} are not on the hub: download them manually and use "
                f"{self.name}@/path/to/file",
                param="backbone",
            )
        try:
            return hub.fetch(self.repo, self.filenames)
        except hub.NotFetchedError as error:
            raise WeightsUnavailable(
                how_to_get(self.name, self.repo, self.filenames[0], str(error)), param="backbone"
            ) from error


def how_to_get(name: str, repo: str, filename: str, reason: str) -> str:
    """Return the error message for a file of `repo` that cannot be downloaded."""
    return (
        f"{filename} of {name} is not on this machine, and {reason}. On a machine with a "
        f"connection, run `hf download {repo}` and copy the cache folder to this machine "
        f"({constants.HF_HUB_CACHE}, or set HF_HUB_CACHE or HF_HOME). Or copy the files of the "
        f"repository into a folder and use `{LOCAL_DIR}/path/to/folder`. The backbone `builtin` "
        "needs no download."
    )
