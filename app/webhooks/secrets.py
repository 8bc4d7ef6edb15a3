"""Secrets of webhooks: derived from the key of the service, so that no row contains them."""

from __future__ import annotations

import base64
import hashlib
import hmac

_PREFIX = "whsec_"


def secret_of(key: bytes, webhook_id: str) -> str:
    """Return the secret of a webhook, as Standard Webhooks writes it."""
    digest = hmac.digest(key, webhook_id.encode(), "sha256")
    return _PREFIX + base64.b64encode(digest).decode()


def sha256_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
