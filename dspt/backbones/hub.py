"""Fetch files of the Hugging Face hub, from the local cache first; fails fast when offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import repo_folder_name

from dspt.backbones import pins

CONNECT_SECONDS = 10.0
"""Timeout of a request; the client of the hub retries for minutes."""

# The client of the hub has changed its HTTP library twice. Its error is derived from the error of
# that library, so this tuple works with all versions.
_HTTP_ERRORS: tuple[type[BaseException], ...] = (OSError, *HfHubHTTPError.__bases__)


class NotFetchedError(Exception):
    """No file is in the cache, and none can be downloaded. The message is the reason."""


def cached(repo: str, filenames: Sequence[str]) -> Path | None:
    """Return the first of `filenames` of `repo` in the local cache, or None. No network."""
    found = _cached(repo, filenames)
    return None if found is None else found[1]


def fetch(repo: str, filenames: Sequence[str]) -> Path:
    """Return the first of `filenames` that `repo` has, from the cache or downloaded into it.

    Raises NotFetchedError within seconds if the hub cannot be reached, and WeightsUnavailable if
    the file is not the one that was used first.
    """
    filename, path = _cached(repo, filenames) or _download(repo, filenames)
    pins.check(repo, filename, path)
    return path


def _cached(repo: str, filenames: Sequence[str]) -> tuple[str, Path] | None:
    for filename in filenames:
        pin = pins.pin_of(repo, filename, _folder(repo))
        for revision in (None if pin is None else pin.revision, None):
            found = try_to_load_from_cache(repo, filename, revision=revision)
            if isinstance(found, str):
                return filename, Path(found)
    return None


def _download(repo: str, filenames: Sequence[str]) -> tuple[str, Path]:
    for filename in filenames:
        pin = pins.pin_of(repo, filename, _folder(repo))
        revision = None if pin is None else pin.revision
        try:
            # hf_hub_download retries the first request six times with a timeout of a minute; this
            # request is sent once.
            url = hf_hub_url(repo, filename, revision=revision)
            get_hf_file_metadata(url, timeout=CONNECT_SECONDS)
            # The first download of a file that is not pinned pins it.
            path = hf_hub_download(repo, filename, revision=revision, etag_timeout=CONNECT_SECONDS)
            return filename, Path(path)
        except EntryNotFoundError:
            continue
        except OfflineModeIsEnabled:
            raise NotFetchedError("HF_HUB_OFFLINE is set") from None
        except _HTTP_ERRORS as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise NotFetchedError(
                f"cannot be downloaded from {constants.ENDPOINT}: {reason[0]}"
            ) from error
    raise NotFetchedError(f"{constants.ENDPOINT}/{repo} has no {' or '.join(filenames)}")


def _folder(repo: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")
