"""Webhooks: events of jobs and batches, sent to addresses that their owners chose."""
