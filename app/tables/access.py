"""The tables of API keys and of sessions of the page."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base


class ApiKey(Base):
    """An API key. Its secret is shown once and not stored."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    #: Keys of the same owner see the same jobs, data sets and models.
    owner: Mapped[str] = mapped_column(String(100))
    #: Some of `read`, `submit`, `metrics`, `admin`.
    scopes: Mapped[list[Any]]
    #: SHA-256 (hex) of the secret, which is random enough not to need a slow hash.
    secret_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    #: None: never.
    expires_at: Mapped[datetime | None]
    #: To the minute.
    last_used_at: Mapped[datetime | None]
    #: Rows of revoked keys are kept as a record.
    revoked_at: Mapped[datetime | None]


class PageSession(Base):
    """A browser that is signed in. The token in its cookie is not stored."""

    __tablename__ = "sessions"

    #: SHA-256 (hex) of the token, which is random enough not to need a slow hash.
    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: The session ends with its key. None: signed in by the link that `dspt serve` prints.
    key_id: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
