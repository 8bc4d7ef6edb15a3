"""Lifecycle of a job: leases, dead workers, the outbox to the broker."""
