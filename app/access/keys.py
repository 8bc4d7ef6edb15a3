"""API keys: made, listed, revoked, checked. Only their SHA-256 is kept."""

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
#: No secret has this digest: whoever names a key that there is not is compared with it.
_NO_SECRET = "-" * 64
#: Asked with every request, so it is built once, and of columns.
_BY_IDS = select(ApiKey.__table__).where(
    ApiKey.__table__.c.id.in_(bindparam("key_ids", expanding=True))
)


def create(session: Session, name: str, owner: str, scopes: Iterable[Scope]) -> tuple[ApiKey, str]:
    """A new key, and what its holder sends: to be shown once, as it cannot be had again."""
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
    """All keys that were ever made, the oldest first."""
    return session.scalars(select(ApiKey).order_by(ApiKey.id)).all()


def revoke(session: Session, key_id: str) -> ApiKey | None:
    """Make a key worthless from now on; None if there is no such key."""
    key = session.get(ApiKey, key_id) if is_id(key_id) else None
    if key is not None and key.revoked_at is None:
        key.revoked_at = datetime.now(UTC)
    return key


def any_made(session: Session) -> bool:
    """Whether there was ever a key: then one is needed, and to revoke the last opens nothing."""
    return session.scalar(select(ApiKey.id).limit(1)) is not None


def any_valid(session: Session) -> bool:
    """Whether somebody can come in."""
    query = select(ApiKey.id).where(ApiKey.revoked_at.is_(None)).limit(1)
    return session.scalar(query) is not None


def callers_with(session: Session, tokens: Sequence[str]) -> list[Caller | None]:
    """Whose key each token is; None if it is nobody's, or revoked.

    A key that there is not, one that is revoked and a wrong secret take the same path, and secrets
    are compared in a time that does not depend on how much of them is right.
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
