"""The key of the service, from which secrets of webhooks and signatures of tokens are derived.

It is DSPT_SIGNING_KEY or, without it, a file in the storage that backups leave out. So neither the
database nor a backup is enough to sign anything.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

from app.kit import storage_keys
from app.kit.context import Context


def signing_key(context: Context) -> bytes | None:
    """Return the key; None if the storage has none yet."""
    if context.settings.signing_key:
        return context.settings.signing_key.encode()
    try:
        return context.storage.read_bytes(storage_keys.SIGNING_KEY)
    except FileNotFoundError:
        return None


def ensure_signing_key(context: Context) -> bytes:
    """Return the key; create it in the storage if there is none."""
    if found := signing_key(context):
        return found
    with suppress(FileExistsError):  # another process creates it at the same time
        context.storage.create(storage_keys.SIGNING_KEY, secrets.token_bytes(32))
    return context.storage.read_bytes(storage_keys.SIGNING_KEY)
