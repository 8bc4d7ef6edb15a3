"""Thousands of hostile archives and images, sent to a running service."""
