"""The table of API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
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
