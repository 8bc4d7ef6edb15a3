"""The table of API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base


class ApiKey(Base):
    """A key that was given out. The secret itself is shown once, and kept nowhere."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    #: Several keys may have the same owner, and then see the same jobs, data sets and models.
    owner: Mapped[str] = mapped_column(String(100))
    #: Some of `read`, `submit`, `metrics`, `admin`.
    scopes: Mapped[list[Any]]
    #: SHA-256 (hex) of the secret, which is random enough not to need a slow hash.
    secret_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    #: Rows stay, so that it can be seen which keys there were.
    revoked_at: Mapped[datetime | None]
