"""Checks on a new job, before and after its upload is read."""
