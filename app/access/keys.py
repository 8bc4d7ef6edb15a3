"""Create, rotate, list, revoke and check API keys. Only the SHA-256 of a key is stored."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Update, bindparam, or_, select, update
from sqlalchemy.orm import Session
from ulid import ULID

from app.access.caller import Caller
from app.kit.db import lock_until_commit
from app.kit.ids import is_id, new_id
from app.kit.scopes import Scope
from app.tables.access import ApiKey

_PREFIX = "key_"
_ID_LENGTH = 30
_TOKEN = re.compile(r"dspt_([0-9a-z]{26})_([0-9a-f]{64})")
#: Name and owner of the key of DSPT_BOOTSTRAP_KEY.
BOOTSTRAP = "bootstrap"
#: Characters of the shortest bootstrap key.
MIN_BOOTSTRAP = 32
#: Other ids start with 0 to 7.
_BOOTSTRAP_PREFIX = f"{_PREFIX}z"
#: Advisory lock number; arbitrary, but unique within the database.
_BOOTSTRAP_LOCK = 0x64737079
#: Compared with when the key id is unknown; no secret has this digest.
_NO_SECRET = "-" * 64
#: Runs with every request, so it is built once and selects columns, not objects.
_BY_IDS = select(ApiKey.__table__).where(
    ApiKey.__table__.c.id.in_(bindparam("key_ids", expanding=True))
)


def create(
    session: Session,
    name: str,
    owner: str,
    scopes: Iterable[Scope],
    lifetime: timedelta | None = None,
) -> tuple[ApiKey, str]:
    """Return a new key and its token, which cannot be recovered later."""
    secret = secrets.token_hex(32)
    key = _add(session, new_id(_PREFIX.rstrip("_")), name, owner, scopes, secret)
    key.expires_at = None if lifetime is None else key.created_at + lifetime
    return key, f"dspt_{key.id.removeprefix(_PREFIX)}_{secret}"


def rotate(session: Session, old: ApiKey, overlap: timedelta) -> tuple[ApiKey, str]:
    """Return a key that replaces `old` and its token; `old` stays valid for `overlap`.

    The new key has the same name, owner, scopes and lifetime.
    """
    lifetime = None if old.expires_at is None else old.expires_at - old.created_at
    now = datetime.now(UTC)
    if overlap:
        old.expires_at = min(filter(None, (old.expires_at, now + overlap)))
    else:
        old.revoked_at = now
    return create(session, old.name, old.owner, map(Scope, old.scopes), lifetime)


def ensure_bootstrap(session: Session, token: str) -> None:
    """Create the admin key that the operator has set, and revoke those that it replaces.

    A bootstrap key that was revoked stays revoked.
    """
    lock_until_commit(session, _BOOTSTRAP_LOCK)
    key_id = _bootstrap_id(token)
    if session.get(ApiKey, key_id) is not None:
        return
    for key in session.scalars(select(ApiKey).where(ApiKey.id.startswith(_BOOTSTRAP_PREFIX))):
        key.revoked_at = key.revoked_at or datetime.now(UTC)
    _add(session, key_id, BOOTSTRAP, BOOTSTRAP, [Scope.ADMIN], token)


def every(session: Session) -> Sequence[ApiKey]:
    """Return all keys ever created, the oldest first."""
    return session.scalars(select(ApiKey).order_by(ApiKey.id)).all()


def page(session: Session, after: str | None, limit: int) -> Sequence[ApiKey]:
    """Return up to `limit` keys older than the key `after`, newest first."""
    query = select(ApiKey).order_by(ApiKey.id.desc()).limit(limit)
    if after is not None:
        query = query.where(ApiKey.id < after)
    return session.scalars(query).all()


def find(session: Session, key_id: str) -> ApiKey | None:
    """Return a key by its id or a unique beginning of it; None if there is no such key."""
    if len(key_id) <= len(_PREFIX) or not is_id(key_id.ljust(_ID_LENGTH, "0")):
        return None
    found = session.scalars(select(ApiKey).where(ApiKey.id.startswith(key_id)).limit(2)).all()
    return found[0] if len(found) == 1 else None


def revoke(session: Session, key_id: str) -> ApiKey | None:
    """Revoke a key at once; return None if it does not exist."""
    key = find(session, key_id)
    if key is not None and key.revoked_at is None:
        key.revoked_at = datetime.now(UTC)
    return key


def any_created(session: Session) -> bool:
    """Return whether a key was ever created; from then on every request needs one."""
    return session.scalar(select(ApiKey.id).limit(1)) is not None


def any_valid(session: Session) -> bool:
    """Return whether a key exists that is neither revoked nor expired."""
    query = select(ApiKey.id).where(ApiKey.revoked_at.is_(None), _not_expired()).limit(1)
    return session.scalar(query) is not None


def is_bootstrap(key: ApiKey) -> bool:
    """Return whether a key comes from DSPT_BOOTSTRAP_KEY."""
    return key.id.startswith(_BOOTSTRAP_PREFIX)


def is_usable(key: ApiKey) -> bool:
    """Return whether a key is neither revoked nor expired."""
    return key.revoked_at is None and not _expired(key.expires_at)


def callers_with(session: Session, tokens: Sequence[str]) -> list[Caller | None]:
    """Return the caller of each token; None for an unknown, wrong, revoked or expired one.

    An unknown key, a revoked key and a wrong secret take the same path, and secrets are compared
    in constant time.
    """
    parts = [_id_and_secret(token) for token in tokens]
    ids = {part[0] for part in parts if part is not None}
    rows = session.execute(_BY_IDS, {"key_ids": sorted(ids)}).all() if ids else []
    kept = {row.id: row for row in rows}
    return [None if part is None else _caller(kept.get(part[0]), part[1]) for part in parts]


def used(key_ids: Collection[str]) -> Update:
    """Return the statement that records that these keys are used now."""
    return update(ApiKey).where(ApiKey.id.in_(key_ids)).values(last_used_at=datetime.now(UTC))


def callers_of(session: Session, key_ids: Sequence[str]) -> list[Caller | None]:
    """Return the caller of each key; None for an unknown, revoked or expired one."""
    rows = session.execute(_BY_IDS, {"key_ids": sorted(set(key_ids))}).all()
    kept = {row.id: _valid(row) for row in rows}
    return [kept.get(key_id) for key_id in key_ids]


def _id_and_secret(token: str) -> tuple[str, str] | None:
    if shown := _TOKEN.fullmatch(token):
        return _PREFIX + shown[1], shown[2]
    return (_bootstrap_id(token), token) if len(token) >= MIN_BOOTSTRAP else None


def _bootstrap_id(token: str) -> str:
    """Return the id of a bootstrap key, whose token contains none: it is derived from a digest."""
    digest = hashlib.sha256(b"bootstrap\0" + token.encode()).digest()
    return _BOOTSTRAP_PREFIX + str(ULID.from_bytes(digest[:16])).lower()[1:]


def _add(
    session: Session, key_id: str, name: str, owner: str, scopes: Iterable[Scope], secret: str
) -> ApiKey:
    key = ApiKey(
        id=key_id,
        name=name,
        owner=owner,
        scopes=sorted(set(scopes), key=list(Scope).index),
        secret_sha256=_digest(secret),
        created_at=datetime.now(UTC),
    )
    session.add(key)
    return key


def _caller(row: Row[Any] | None, secret: str) -> Caller | None:
    kept = _NO_SECRET if row is None else row.secret_sha256
    right = hmac.compare_digest(kept, _digest(secret))
    return None if row is None or not right else _valid(row)


def _valid(row: Row[Any]) -> Caller | None:
    if row.revoked_at is not None or _expired(row.expires_at):
        return None
    return Caller(row.owner, frozenset(map(Scope, row.scopes)), row.id)


def _expired(moment: datetime | None) -> bool:
    return moment is not None and moment <= datetime.now(UTC)


def _not_expired() -> ColumnElement[bool]:
    return or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > datetime.now(UTC))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
