"""Batches, with their results and zips, and comparisons past their retention."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import select

from app.batches.repository import BATCHES
from app.comparisons.repository import COMPARISONS
from app.gc.findings import Finding, Kind
from app.kit.context import Context
from app.kit.db import database_now
from app.tables.batches import Batch


def expired_runs(context: Context, dry_run: bool) -> Iterator[Finding]:
    """Delete the batches and comparisons that ended before DSPT_KEEP_BATCHES_DAYS."""
    days = context.settings.keep_batches_days
    if days is None:
        return
    for kind in (BATCHES, COMPARISONS):
        table = kind.table
        with context.database.read() as session:
            before = database_now(session) - timedelta(days=days)
            query = select(table.id).where(table.finished_at < before).order_by(table.id)
            ids = session.scalars(query).all()
        for row_id in ids:
            key = None
            if not dry_run:
                with context.database.write() as session:
                    row = kind.get(session, row_id, lock=True)
                    # It may just have been retried, or deleted.
                    if row is None or row.finished_at is None or row.finished_at >= before:
                        continue
                    key = row.storage_key if isinstance(row, Batch) else None
                    session.expunge(row)
                    kind.remove(session, row_id)
            if key is not None:  # after the commit: a crash leaves a file without a row
                context.storage.delete(key)
            yield Finding(Kind.RUN, row_id)
