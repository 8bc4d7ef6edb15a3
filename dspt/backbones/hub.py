"""Files of the Hugging Face hub: from the local cache first, with no long hang when offline."""

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
"""How long one unanswered request may take; the hub's own client repeats for minutes."""

# The hub's client has changed its HTTP library twice; its own error derives from whatever that
# library calls an error, so this tuple holds for all of them.
_HTTP_ERRORS: tuple[type[BaseException], ...] = (OSError, *HfHubHTTPError.__bases__)


class NotFetchedError(Exception):
    """None of the files is in the cache, and the hub does not give one. Says why."""


def cached(repo: str, filenames: Sequence[str]) -> Path | None:
    """The first of `filenames` that the local cache holds for `repo`; never uses the network."""
    for filename in filenames:
        found = try_to_load_from_cache(repo, filename)
        if isinstance(found, str):
            return Path(found)
    return None


def fetch(repo: str, filenames: Sequence[str]) -> Path:
    """The first of `filenames` that `repo` has: from the cache, else downloaded into it.

    Raises NotFetchedError within seconds when the hub cannot be reached.
    """
    found = cached(repo, filenames)
    if found is not None:
        return found
    for filename in filenames:
        try:
            # hf_hub_download repeats an unanswered first request six times with a timeout of a
            # minute; this one asks once.
            get_hf_file_metadata(hf_hub_url(repo, filename), timeout=CONNECT_SECONDS)
            # No revision: the backbone's name says what is wanted. The digest of what came stands
            # in every artefact, which is refused where another one is there.
            path = hf_hub_download(repo, filename, etag_timeout=CONNECT_SECONDS)  # nosec B615
            return Path(path)
        except EntryNotFoundError:
            continue
        except OfflineModeIsEnabled:
            raise NotFetchedError("HF_HUB_OFFLINE is set") from None
        except _HTTP_ERRORS as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise NotFetchedError(f"{constants.ENDPOINT} does not give it: {reason[0]}") from error
    raise NotFetchedError(f"{constants.ENDPOINT}/{repo} has no {' or '.join(filenames)}")
