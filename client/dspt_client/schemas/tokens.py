"""Tokens for one path, as the API returns them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class TokenView(BaseModel):
    """A token that can be sent as `?token=` to one path."""

    object: Literal["token"] = "token"
    token: str
    path: str
    url: str = Field(description="The path with the token.")
    expires_at: datetime
