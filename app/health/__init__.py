"""Probes for people, supervisors and orchestrators."""
