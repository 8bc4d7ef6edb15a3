"""Send the deliveries that are due, sign them, and record the results.

Any number of processes may run it. A process claims an attempt by moving `next_attempt_at` past the
attempt's time limit; if it dies, the attempt is made again, under the same webhook-id.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from dspt_client.schemas.webhooks import DeliveryStatus
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.kit.background_loop import Loop
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.outgoing import OutgoingError, send
from app.kit.signing_key import signing_key
from app.tables.webhooks import Webhook, WebhookDelivery
from app.webhooks.secrets import secret_of, sha256_of

_log = structlog.get_logger(__name__)

#: Of one attempt.
SECONDS = 10.0
#: Longer than an attempt takes, with the look-up of its host.
_CLAIM = timedelta(seconds=60)
#: Attempts of one process at the same time, and those of one webhook among them.
_AT_ONCE, _PER_WEBHOOK = 16, 4
#: A webhook is disabled after as many failed deliveries in a row.
MOST_FAILURES = 5
#: Ended deliveries are deleted after this time.
KEEP = timedelta(days=30)
_GONE = 410

_Row = WebhookDelivery


@dataclass(frozen=True)
class _Claim:
    """An attempt that this process makes."""

    id: str
    attempt: int
    body: str
    webhook_id: str
    url: str
    secret_sha256: str


@dataclass(frozen=True)
class _Result:
    status: int | None = None
    error: str | None = None
    disable: str | None = None
    """Why the webhook must receive nothing more."""


class WebhookSender:
    """`loop` sends what is due; each attempt has a thread, so that none waits for another."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.loop = Loop("webhooks", self.send_due, context.settings.housekeeping_seconds)

    def send_due(self) -> int:
        """Make the attempts that are due, up to a number; return how many."""
        claims = self._claim()
        errors: list[Exception] = []

        def attempt(claim: _Claim) -> None:
            try:
                self._record(claim, self._send(claim))
            except Exception as error:  # noqa: BLE001 - the loop's thread raises it
                errors.append(error)

        # Daemons: an attempt does not delay the end of the process, and is made again then.
        threads = [threading.Thread(target=attempt, args=[each], daemon=True) for each in claims]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_CLAIM.total_seconds())
        if errors:
            raise errors[0]
        if claims:
            self.loop.wake()  # there may be more
        return len(claims)

    def _claim(self) -> list[_Claim]:
        with self._context.database.read() as session:
            due = _due(session)
        if not due:
            return []
        with self._context.database.write() as session:
            now = database_now(session)
            free = (
                select(_Row.id)
                .where(_Row.id.in_(due), _Row.next_attempt_at <= now)
                .with_for_update(skip_locked=True)
            )
            query = (
                update(_Row)
                .where(_Row.id.in_(session.scalars(free).all()))
                .values(
                    attempts=_Row.attempts + 1,
                    last_attempt_at=now,
                    next_attempt_at=now + _CLAIM,
                )
            )
            claimed = session.execute(query.returning(_Row.id)).scalars().all()
            rows = session.execute(
                select(_Row.id, _Row.attempts, _Row.body, Webhook.id, Webhook.url)
                .add_columns(Webhook.secret_sha256)
                .join(Webhook, Webhook.id == _Row.webhook_id)
                .where(_Row.id.in_(claimed))
            ).all()
        return [_Claim(*row) for row in rows]

    def _send(self, claim: _Claim) -> _Result:
        from standardwebhooks.webhooks import Webhook as Signer

        key = signing_key(self._context)
        secret = None if key is None else secret_of(key, claim.webhook_id)
        if secret is None or sha256_of(secret) != claim.secret_sha256:
            why = "The service has another signing key than when the webhook was created."
            return _Result(error="the signing key has changed", disable=why)
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": claim.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Signer(secret).sign(claim.id, now, claim.body),
        }
        try:
            answer = send(
                "POST",
                claim.url,
                private_hosts=self._context.settings.private_hosts,
                seconds=SECONDS,
                headers=headers,
                body=claim.body.encode(),
            )
        except OutgoingError as refused:
            return _Result(error=str(refused))
        if 200 <= answer.status < 300:
            return _Result(answer.status)
        error = f"the receiver answered {answer.status}"
        if 300 <= answer.status < 400:
            error += "; redirects are not followed"
        gone = f"The receiver answered {_GONE} (Gone)." if answer.status == _GONE else None
        return _Result(answer.status, error, gone)

    def _record(self, claim: _Claim, result: _Result) -> None:
        pauses = self._context.settings.webhook_retry_seconds
        last = claim.attempt > len(pauses) or result.disable is not None
        with self._context.database.write() as session:
            now = database_now(session)
            # First, as where it is deleted: two locks in one order.
            webhook = session.get(Webhook, claim.webhook_id, with_for_update=True)
            values = {"response_status": result.status, "error": result.error}
            query = update(_Row).where(
                _Row.id == claim.id,
                _Row.attempts == claim.attempt,
                _Row.status == DeliveryStatus.PENDING,
            )
            if result.error is None:
                query = query.values(
                    **values, status=DeliveryStatus.SUCCEEDED, next_attempt_at=None
                )
            elif last:
                query = query.values(**values, status=DeliveryStatus.FAILED, next_attempt_at=None)
            else:
                pause = pauses[claim.attempt - 1] * random.uniform(1, 1.1)  # nosec B311
                query = query.values(**values, next_attempt_at=now + timedelta(seconds=pause))
            recorded = session.execute(query.returning(_Row.id)).one_or_none() is not None
            if webhook is None or not recorded:
                return  # deleted, or another process has made the attempt again
            if result.error is None:
                webhook.failures = 0
                return
            webhook.failures += last
            reason = result.disable
            if webhook.failures >= MOST_FAILURES:
                reason = f"{webhook.failures} deliveries in a row failed; last: {result.error}."
            if reason is not None and webhook.disabled_at is None:
                webhook.disabled_at, webhook.disabled_reason = now, reason
                _log.warning("webhook disabled", webhook_id=webhook.id, reason=reason)


def _due(session: Session) -> list[str]:
    """Return the ids of deliveries to send now, fairly among the webhooks."""
    rank = func.row_number().over(
        partition_by=_Row.webhook_id, order_by=(_Row.next_attempt_at, _Row.id)
    )
    due = (
        select(_Row.id, _Row.next_attempt_at, rank.label("rank"))
        .join(Webhook, Webhook.id == _Row.webhook_id)
        .where(_Row.next_attempt_at <= database_now(session), Webhook.disabled_at.is_(None))
        .subquery()
    )
    query = select(due.c.id).where(due.c.rank <= _PER_WEBHOOK)
    query = query.order_by(due.c.rank, due.c.next_attempt_at).limit(_AT_ONCE)
    return list(session.scalars(query))


def expire_deliveries(context: Context, *, dry_run: bool) -> Iterator[tuple[str, int]]:
    """Delete old ended deliveries; yield each webhook with their number."""
    with context.database.read() as session:
        before = database_now(session) - KEEP
        old = (_Row.created_at < before, _Row.status != DeliveryStatus.PENDING)
        counts = select(_Row.webhook_id, func.count()).where(*old).group_by(_Row.webhook_id)
        found = session.execute(counts).all()
    if found and not dry_run:
        with context.database.write() as session:
            session.execute(delete(_Row).where(*old))
    yield from ((webhook_id, count) for webhook_id, count in found)
