"""The installation id in the broker: a worker must not take the messages of another installation.

A worker with the right broker and another database would take each message, find no job and drop
the message.
"""

from __future__ import annotations

import redis
import structlog

from app.installation.service import InstallationError
from app.kit.redis_url import redis_url
from app.kit.settings import Settings

_log = structlog.get_logger(__name__)
_KEY = "dspt:installation"
#: Time limit of one command.
_SECONDS = 3


def ensure(settings: Settings, own: str) -> None:
    """Check that the broker belongs to the installation `own`; mark it if it is new.

    A broker that is away cannot be checked; API and worker start without it. Raises
    InstallationError.
    """
    if not settings.broker_url:
        return
    try:
        with _client(settings) as client:
            client.set(_KEY, own, nx=True)
            marked = client.get(_KEY)
    except ValueError as error:
        raise InstallationError(f"DSPT_BROKER_URL: {error}") from error
    except redis.RedisError as error:
        _log.warning("cannot check which installation the broker belongs to", reason=str(error))
        return
    theirs = marked.decode() if isinstance(marked, bytes) else str(marked)
    if theirs != own:
        raise InstallationError(
            f"The database belongs to installation {own}, the broker to {theirs}. Check "
            "DSPT_DATABASE_URL and DSPT_BROKER_URL: each installation needs a Redis, or a database "
            "number of a Redis, of its own. To use this broker with this database on purpose, run "
            "`dspt storage adopt`."
        )


def adopt(settings: Settings, own: str) -> None:
    """Mark the broker as belonging to the installation. Raises InstallationError."""
    try:
        with _client(settings) as client:
            client.set(_KEY, own)
    except (redis.RedisError, ValueError) as error:
        raise InstallationError(f"DSPT_BROKER_URL: cannot use the broker: {error}") from error


def _client(settings: Settings) -> redis.Redis:
    return redis.Redis.from_url(
        redis_url(settings.broker_url), socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS
    )
