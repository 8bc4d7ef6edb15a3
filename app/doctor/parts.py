"""Data directory, database, broker, storage and workers, as configured on this machine."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from app.doctor.findings import PARTS, Finding, State
from app.doctor.variables import shown
from app.kit.redis_url import redis_url
from app.kit.settings import GIB, Settings
from app.kit.storage import StorageUnavailable, open_storage
from app.kit.writable import check_writable
from app.serve import ServeError
from app.serve.redis_program import find_redis

if TYPE_CHECKING:  # takes a quarter of a second
    import redis

_NOT_YET = "does not exist yet; it is created at the first start"
_BROKER_SECONDS = 3.0
#: The photos and features of one day's jobs take more.
_LITTLE_SPACE = 2 * GIB


def look(settings: Settings) -> Iterator[Finding]:
    """Check each part that is set up here. Creates nothing."""
    yield _data_dir(settings.data_dir)
    database = list(_database(settings))
    yield from database
    yield _broker(settings)
    storage = _storage(settings)
    yield storage
    if {database[0].state, storage.state} <= {State.OK, State.WARN}:
        from app.doctor.database import look_at_installation

        yield from look_at_installation(settings)


def _data_dir(folder: Path) -> Finding:
    try:
        check_writable(folder)
    except OSError as error:
        found = f"{folder}: {error.strerror}: {error.filename}"
        fix = "correct its owner or permissions, free some space, or set DSPT_DATA_DIR"
        return Finding(PARTS, "data directory", State.FAIL, found, fix)
    if not folder.exists():
        return Finding(PARTS, "data directory", State.OFF, f"{folder}: {_NOT_YET}")
    return Finding(PARTS, "data directory", State.OK, str(folder))


def _database(settings: Settings) -> Iterator[Finding]:
    file = settings.sqlite_file
    if file is not None and not file.exists():
        found = f"{shown('', settings.database_url)}: {_NOT_YET}"
        yield Finding(PARTS, "database", State.OFF, found)
        return
    from app.doctor import database

    yield from database.look(settings)


def _broker(settings: Settings) -> Finding:
    if not settings.broker_url:
        try:
            program = str(find_redis())
        except ServeError as error:
            return Finding(PARTS, "broker", State.WARN, str(error))
        found = f"DSPT_BROKER_URL is not set; dspt serve starts a private {program}"
        return Finding(PARTS, "broker", State.OFF, found)
    import redis

    where = shown("", settings.broker_url)
    try:
        url = redis_url(settings.broker_url)
        seconds = _BROKER_SECONDS
        with redis.Redis.from_url(
            url, socket_connect_timeout=seconds, socket_timeout=seconds
        ) as client:
            client.ping()
            version = _server_version(client)
    except (redis.RedisError, OSError, ValueError) as error:
        fix = "start Redis, or correct DSPT_BROKER_URL"
        return Finding(PARTS, "broker", State.FAIL, f"{where}: {shown('', str(error))}", fix)
    return Finding(PARTS, "broker", State.OK, f"{where}{version}")


def _server_version(client: redis.Redis) -> str:
    """Return name and version of the server; nothing if this user may not ask."""
    import redis

    try:
        info: Any = client.info("server")
    except redis.RedisError:
        return ""
    if "valkey_version" in info:
        return f", Valkey {info['valkey_version']}"
    return f", Redis {info['redis_version']}"


def _storage(settings: Settings) -> Finding:
    where, url = shown("", settings.storage_url), urlsplit(settings.storage_url)
    folder = Path(url.path) if url.scheme in ("", "file") else None
    if folder is not None and not folder.exists():
        return Finding(PARTS, "storage", State.OFF, f"{where}: {_NOT_YET}")
    try:
        storage = open_storage(settings)
        storage.probe()  # first: some servers create a missing bucket with the first file
        storage.check()
    except (OSError, ValueError) as error:
        return Finding(PARTS, "storage", State.FAIL, f"{where}: {error}", _storage_fix(error))
    if folder is None:
        return Finding(PARTS, "storage", State.OK, where)
    free = shutil.disk_usage(folder).free
    found = f"{where}, {free / GIB:.1f} GiB free"
    if free < _LITTLE_SPACE:
        fix = "free some space; dspt gc deletes data that is no longer needed"
        return Finding(PARTS, "storage", State.WARN, found, fix)
    return Finding(PARTS, "storage", State.OK, found)


#: What S3 servers answer -> what helps.
_S3_FIXES = {
    "SignatureDoesNotMatch": "correct AWS_SECRET_ACCESS_KEY",
    "InvalidAccessKeyId": "correct AWS_ACCESS_KEY_ID",
    "AccessDenied": "allow this key to list the bucket and to get, put and delete its objects",
    "NoSuchBucket": "create the bucket, or correct DSPT_STORAGE_URL",
    "PermanentRedirect": "set DSPT_S3_REGION to the region of the bucket",
    "169.254.169.254": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role",
}


def _storage_fix(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "free some space, or raise the quota; dspt gc deletes what is no longer needed"
    for reason, fix in _S3_FIXES.items():
        if reason in str(error):
            return fix
    if isinstance(error, StorageUnavailable):
        return "check that the S3 server runs, DSPT_S3_ENDPOINT and the network"
    return "check its permissions, its free space and DSPT_STORAGE_URL"
