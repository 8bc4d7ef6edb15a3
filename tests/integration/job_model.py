"""What should become of a job, in plain Python: the service is compared with this."""

from __future__ import annotations

from dataclasses import dataclass, field

#: What people ask of a job.
ASKED = ("cancel", "retry", "delete")
#: What a worker does with the job that it claimed; each takes the number of its claim.
WORKED = ("start", "report", "succeed", "fail", "confirm_cancel", "release", "renew", "wish")

#: Claims after which a lost job fails: DSPT_MAX_ATTEMPTS, small so that it is often reached.
MAX_ATTEMPTS = 2

DONE, REFUSED = "done", "refused"
TERMINAL = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Seen:
    """A job as the tables show it."""

    status: str
    attempt: int
    #: Of status events the status and the attempt, of others the type.
    events: tuple[tuple[str, int | None] | str, ...]
    #: Number of the claim that holds the lease.
    holder: int | None
    #: In the outbox: whether it was sent; None: not there.
    outbox: bool | None
    models: int


@dataclass
class JobModel:
    """One job. Each method takes a step if it may, and says how it went as the service would."""

    status: str = "queued"
    attempt: int = 0
    events: list[tuple[str, int | None] | str] = field(default_factory=lambda: [("queued", None)])
    holder: int | None = None
    claims: int = 0
    sent: bool = False
    deleted: bool = False

    def seen(self) -> Seen | None:
        """What the tables should show; nothing of a deleted job."""
        if self.deleted:
            return None
        return Seen(
            status=self.status,
            attempt=self.attempt,
            events=tuple(self.events),
            holder=self.holder,
            outbox=self.sent if self.status == "queued" else None,
            models=int(self.status == "succeeded"),
        )

    def claim(self) -> str:
        if self.deleted or self.status != "queued":
            return REFUSED
        self.holder = self.claims
        self.claims += 1
        self.attempt += 1
        return self._to("validating")

    def start(self, claim: int) -> str:
        return self._to("running") if self._holds(claim, "validating") else REFUSED

    def report(self, claim: int) -> str:
        if not self._holds(claim):
            return REFUSED
        self.events += ["metrics", "progress"]
        return DONE

    def succeed(self, claim: int) -> str:
        return self._to("succeeded") if self._holds(claim, "running") else REFUSED

    def fail(self, claim: int) -> str:
        return self._to("failed") if self._holds(claim, "validating", "running") else REFUSED

    def confirm_cancel(self, claim: int) -> str:
        return self._to("cancelled") if self._holds(claim, "cancelling") else REFUSED

    def release(self, claim: int) -> str:
        if not self._holds(claim, "validating", "running"):
            return REFUSED
        self.attempt -= 1
        return self._to("queued")

    def renew(self, claim: int) -> str:
        return DONE if self._holds(claim) else REFUSED

    def wish(self, claim: int) -> str:
        cancel = not self.deleted and self.status == "cancelling"
        return f"cancel={cancel} lost={not self._holds(claim)}"

    def reap(self) -> None:
        """Its worker was silent for too long."""
        if self.status == "cancelling":
            self._to("cancelled")
        elif self.holder is not None:
            self._to("failed" if self.attempt >= MAX_ATTEMPTS else "queued")

    def cancel(self) -> str:
        if self.deleted:
            return "job_not_found"
        if self.status in TERMINAL:
            return "job_finished"
        if self.status != "cancelling":
            self._to("cancelled" if self.status == "queued" else "cancelling")
        return DONE

    def retry(self) -> str:
        if self.deleted:
            return "job_not_found"
        if self.status not in ("failed", "cancelled"):
            return "job_succeeded" if self.status == "succeeded" else "job_not_finished"
        self.attempt = 0
        return self._to("queued")

    def delete(self) -> str:
        if self.deleted:
            return "job_not_found"
        if self.status not in TERMINAL:
            return "job_not_finished"
        self.deleted = True
        return DONE

    def _holds(self, claim: int, *statuses: str) -> bool:
        return (
            not self.deleted and self.holder == claim and (not statuses or self.status in statuses)
        )

    def _to(self, status: str) -> str:
        self.status = status
        self.events.append((status, self.attempt))
        if status in ("queued", *TERMINAL):
            self.holder = None
        self.sent = False
        return DONE
