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

CONNECT_SECONDS = 10.0
"""Timeout of a request; the client of the hub retries for minutes."""

# The client of the hub has changed its HTTP library twice. Its error is derived from the error of
# that library, so this tuple works with all versions.
_HTTP_ERRORS: tuple[type[BaseException], ...] = (OSError, *HfHubHTTPError.__bases__)


class NotFetchedError(Exception):
    """No file is in the cache, and none can be downloaded. The message is the reason."""


def cached(repo: str, filenames: Sequence[str]) -> Path | None:
    """Return the first of `filenames` of `repo` in the local cache, or None. No network."""
    for filename in filenames:
        found = try_to_load_from_cache(repo, filename)
        if isinstance(found, str):
            return Path(found)
    return None


def fetch(repo: str, filenames: Sequence[str]) -> Path:
    """Return the first of `filenames` that `repo` has, from the cache or downloaded into it.

    Raises NotFetchedError within seconds if the hub cannot be reached.
    """
    found = cached(repo, filenames)
    if found is not None:
        return found
    for filename in filenames:
        try:
            # hf_hub_download retries the first request six times with a timeout of a minute; this
            # request is sent once.
            get_hf_file_metadata(hf_hub_url(repo, filename), timeout=CONNECT_SECONDS)
            # No revision: the name of the backbone identifies the weights. Each model stores their
            # digest and is rejected if it differs.
            path = hf_hub_download(repo, filename, etag_timeout=CONNECT_SECONDS)  # nosec B615
            return Path(path)
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
