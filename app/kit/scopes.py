"""Scopes of API keys. Apart from the rules of routes: commands need no web framework."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    #: Read one's own jobs, data sets and models, and classify with the models.
    READ = "read"
    #: Create and change them: upload, correct, cancel, delete.
    SUBMIT = "submit"
    #: Read the service's metrics, which count the jobs of all owners: for Prometheus.
    METRICS = "metrics"
    #: Everything, for the resources of all owners.
    ADMIN = "admin"
