"""Quotas: what one owner may have queued and stored, and how long the queue may grow."""
