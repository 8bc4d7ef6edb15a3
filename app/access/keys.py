"""Create, list, revoke and check API keys. Only the SHA-256 of a key is stored."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.kit.http.rules import Scope
from app.kit.ids import is_id, new_id
from app.tables.access import ApiKey

_PREFIX = "key_"
_TOKEN = re.compile(r"dspt_([0-9a-z]{26})_([0-9a-f]{64})")
#: Compared with when the key id is unknown; no secret has this digest.
_NO_SECRET = "-" * 64
#: Runs with every request, so it is built once and selects columns, not objects.
_BY_IDS = select(ApiKey.__table__).where(
    ApiKey.__table__.c.id.in_(bindparam("key_ids", expanding=True))
)


def create(session: Session, name: str, owner: str, scopes: Iterable[Scope]) -> tuple[ApiKey, str]:
    """Return a new key and its token, which cannot be recovered later."""
    secret = secrets.token_hex(32)
    key = ApiKey(
        id=new_id(_PREFIX.rstrip("_")),
        name=name,
        owner=owner,
        scopes=[scope for scope in Scope if scope in set(scopes)],
        secret_sha256=_digest(secret),
        created_at=datetime.now(UTC),
    )
    session.add(key)
    return key, f"dspt_{key.id.removeprefix(_PREFIX)}_{secret}"


def every(session: Session) -> Sequence[ApiKey]:
    """Return all keys ever created, the oldest first."""
    return session.scalars(select(ApiKey).order_by(ApiKey.id)).all()


def revoke(session: Session, key_id: str) -> ApiKey | None:
    """Revoke a key at once; return None if it does not exist."""
    key = session.get(ApiKey, key_id) if is_id(key_id) else None
    if key is not None and key.revoked_at is None:
        key.revoked_at = datetime.now(UTC)
    return key


def any_created(session: Session) -> bool:
    """Return whether a key was ever created; from then on every request needs one."""
    return session.scalar(select(ApiKey.id).limit(1)) is not None


def any_valid(session: Session) -> bool:
    """Return whether a key exists that is not revoked."""
    query = select(ApiKey.id).where(ApiKey.revoked_at.is_(None)).limit(1)
    return session.scalar(query) is not None


def callers_with(session: Session, tokens: Sequence[str]) -> list[Caller | None]:
    """Return the caller of each token; None for an unknown, wrong or revoked one.

    An unknown key, a revoked key and a wrong secret take the same path, and secrets are compared
    in constant time.
    """
    shown = [_TOKEN.fullmatch(token) for token in tokens]
    ids = {_PREFIX + token[1] for token in shown if token is not None}
    rows = session.execute(_BY_IDS, {"key_ids": sorted(ids)}).all() if ids else []
    kept = {row.id: row for row in rows}
    return [
        None if token is None else _caller(kept.get(_PREFIX + token[1]), token[2])
        for token in shown
    ]


def _caller(row: Row[Any] | None, secret: str) -> Caller | None:
    kept = _NO_SECRET if row is None else row.secret_sha256
    right = hmac.compare_digest(kept, _digest(secret))
    if row is None or not right or row.revoked_at is not None:
        return None
    return Caller(row.owner, frozenset(map(Scope, row.scopes)), row.id)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
