"""Tuning jobs: HTTP calls, views, and below them intake, lifecycle, events and review."""
