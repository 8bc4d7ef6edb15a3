"""Thousands of hostile archives and images, and what becomes of them at the running service."""
