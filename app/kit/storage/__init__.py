"""Files (data sets, models, audits) in a folder or in an S3 bucket."""

from __future__ import annotations

from urllib.parse import urlsplit

from app.kit.settings import Settings
from app.kit.storage.base import Storage, StorageUnavailable, Stored
from app.kit.storage.local import LocalStorage

__all__ = ["Storage", "StorageUnavailable", "Stored", "open_storage"]


def open_storage(settings: Settings) -> Storage:
    """Return the storage at DSPT_STORAGE_URL; nothing is read or written yet.

    Raises ValueError if the URL is not supported, or needs a package that is not installed.
    """
    url = settings.storage_url
    scheme = urlsplit(url).scheme
    if scheme in ("", "file"):
        return LocalStorage(url)
    if scheme != "s3":
        raise ValueError(f"{scheme}:// is not supported; use file:///FOLDER or s3://BUCKET/PREFIX")
    try:
        from app.kit.storage.s3 import open_bucket  # obstore must not be loaded before a fork
    except ImportError as error:
        raise ValueError("s3:// needs the extra s3: pip install 'dspt[server,s3]'") from error
    return open_bucket(settings)
