"""Open the S3 bucket that the settings name."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.store import S3Store

from app.kit.settings import Settings
from app.kit.storage.objects import ObjectStorage

if TYPE_CHECKING:
    from obstore.store import S3Config

#: The calls have their own, shorter time limits: these end what such a call leaves behind.
_READ_TIMEOUT, _REQUEST_TIMEOUT = timedelta(seconds=90), timedelta(hours=2)
_RETRIES, _FIRST_PAUSE, _LONGEST_PAUSE = 3, timedelta(milliseconds=100), timedelta(seconds=1)


def open_bucket(settings: Settings) -> ObjectStorage:
    """Return the storage in `s3://BUCKET/PREFIX`; the environment has the credentials.

    Raises ValueError if the URL names no bucket, or a part that is not supported.
    """
    url = urlsplit(settings.storage_url)
    if not url.netloc or "@" in url.netloc or ":" in url.netloc or url.query or url.fragment:
        raise ValueError("must be s3://BUCKET/PREFIX; credentials belong into the environment")
    seconds = settings.storage_timeout_seconds
    store = S3Store(
        url.netloc,
        prefix=url.path.strip("/") or None,
        config=_config(settings, url.netloc),
        client_options={
            "allow_http": True,  # if the endpoint is http://
            "connect_timeout": timedelta(seconds=seconds),
            "read_timeout": _READ_TIMEOUT,
            "timeout": _REQUEST_TIMEOUT,
        },
        retry_config={
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=seconds),
            "backoff": {"init_backoff": _FIRST_PAUSE, "max_backoff": _LONGEST_PAUSE, "base": 2},
        },
    )
    return ObjectStorage(store, settings.storage_url, seconds)


def _config(settings: Settings, bucket: str) -> S3Config:
    """Return what differs from the environment's configuration and from AWS's defaults."""
    config: S3Config = {
        "virtual_hosted_style_request": not settings.s3_path_style,
        "disable_bulk_delete": True,  # some servers lack it, and each call deletes one object
    }
    if settings.s3_region:
        config["region"] = settings.s3_region
    if settings.s3_endpoint:
        scheme, _, host = settings.s3_endpoint.rstrip("/").partition("://")
        config["endpoint"] = f"{scheme}://{'' if settings.s3_path_style else f'{bucket}.'}{host}"
    return config
