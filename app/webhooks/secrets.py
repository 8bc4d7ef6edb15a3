"""Secrets of webhooks: derived from a key of the service, so that no row contains them.

The key is DSPT_WEBHOOK_KEY or, without it, a file in the storage that backups leave out. So neither
the database nor a backup is enough to sign an event.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from contextlib import suppress

from app.kit import storage_keys
from app.kit.context import Context

_PREFIX = "whsec_"


def secret_of(key: bytes, webhook_id: str) -> str:
    """Return the secret of a webhook, as Standard Webhooks writes it."""
    digest = hmac.digest(key, webhook_id.encode(), "sha256")
    return _PREFIX + base64.b64encode(digest).decode()


def sha256_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def key_of(context: Context) -> bytes | None:
    """Return the key of the service; None if the storage has none."""
    if context.settings.webhook_key:
        return context.settings.webhook_key.encode()
    try:
        return context.storage.read_bytes(storage_keys.WEBHOOK_KEY)
    except FileNotFoundError:
        return None


def ensure_key(context: Context) -> bytes:
    """Return the key of the service; create it in the storage if there is none."""
    if found := key_of(context):
        return found
    with suppress(FileExistsError):  # another process creates it at the same time
        context.storage.create(storage_keys.WEBHOOK_KEY, secrets.token_bytes(32))
    return context.storage.read_bytes(storage_keys.WEBHOOK_KEY)
