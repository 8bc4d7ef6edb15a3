"""Sessions of the page: a key, or the link that `dspt serve` prints, for a cookie."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Update, bindparam, delete, select, update
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope as Connection

from app.access.caller import LOCAL, Caller
from app.kit.http.rules import Scope
from app.tables.access import ApiKey, PageSession

LIFETIME = timedelta(days=7)
#: A session without a request for this long ends.
IDLE = timedelta(hours=12)
_KEY, _SESSION = ApiKey.__table__, PageSession.__table__
#: Runs with every request of the page.
_BY_DIGESTS = (
    select(
        _SESSION.c.token_sha256,
        _SESSION.c.key_id,
        _SESSION.c.expires_at.label("ends_at"),
        _KEY.c.owner,
        _KEY.c.scopes,
        _KEY.c.expires_at,
        _KEY.c.revoked_at,
    )
    .outerjoin_from(_SESSION, _KEY, _KEY.c.id == _SESSION.c.key_id)
    .where(_SESSION.c.token_sha256.in_(bindparam("digests", expanding=True)))
)


class SignInLink:
    """The link that `dspt serve` prints. It signs in one browser, as the operator."""

    def __init__(self, token_sha256: str | None) -> None:
        self._token_sha256 = token_sha256

    def use(self, token: str) -> bool:
        """Return whether `token` is that of the link, which is not valid any more then."""
        kept, self._token_sha256 = self._token_sha256, None
        if kept is not None and hmac.compare_digest(kept, digest(token)):
            return True
        self._token_sha256 = kept
        return False


def start(session: Session, key_id: str | None) -> tuple[str, datetime]:
    """Return the token of a new session and when it ends if it is not used; delete ended ones."""
    now, token = datetime.now(UTC), secrets.token_urlsafe(32)
    session.execute(delete(PageSession).where(PageSession.expires_at <= now))
    ends = now + IDLE
    session.add(
        PageSession(token_sha256=digest(token), key_id=key_id, created_at=now, expires_at=ends)
    )
    return token, ends


def used(digests: Collection[str]) -> Update:
    """Return the statement that prolongs sessions that are used now, but not beyond LIFETIME."""
    now = datetime.now(UTC)
    prolonged = update(PageSession).where(
        PageSession.token_sha256.in_(digests), PageSession.created_at > now + IDLE - LIFETIME
    )
    return prolonged.values(expires_at=now + IDLE)


def end(session: Session, token: str) -> None:
    """End a session, if there is one with this token."""
    session.execute(delete(PageSession).where(PageSession.token_sha256 == digest(token)))


def callers_with(session: Session, tokens: Sequence[str]) -> list[Caller | None]:
    """Return the caller of each token; None if its session or its key has ended."""
    digests = [digest(token) for token in tokens]
    now = datetime.now(UTC)
    callers: dict[str, Caller] = {}
    for row in session.execute(_BY_DIGESTS, {"digests": sorted(set(digests))}):
        ends = [end for end in (row.ends_at, row.expires_at) if end is not None]
        if row.revoked_at is None and min(ends) > now:
            callers[row.token_sha256] = (
                LOCAL
                if row.key_id is None
                else Caller(row.owner, frozenset(map(Scope, row.scopes)), row.key_id)
            )
    return [callers.get(each) for each in digests]


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def token_of(connection: Connection) -> str | None:
    """Return the token in the request's cookie."""
    return HTTPConnection(connection).cookies.get(_cookie_name(connection))


def set_cookie(response: Response, connection: Connection, token: str) -> None:
    """Make the browser keep `token`, out of reach of scripts and of other sites."""
    response.set_cookie(
        _cookie_name(connection),
        token,
        max_age=int(LIFETIME.total_seconds()),
        httponly=True,
        secure=connection["scheme"] == "https",
        samesite="strict",
    )


def delete_cookie(response: Response, connection: Connection) -> None:
    response.delete_cookie(
        _cookie_name(connection),
        httponly=True,
        secure=connection["scheme"] == "https",
        samesite="strict",
    )


def _cookie_name(connection: Connection) -> str:
    """Over https browsers accept a name with this prefix from the host itself only."""
    return "__Host-dspt" if connection["scheme"] == "https" else "dspt"
