"""The database schema: all tables in one place, because foreign keys tie them together.

Every feature may import from here; these modules import nothing of the features.
"""

from app.tables import (
    access,
    batches,
    captures,
    comparisons,
    datasets,
    installation,
    jobs,
    models,
    reviews,
    uploads,
    webhooks,
)

__all__ = [
    "access",
    "batches",
    "captures",
    "comparisons",
    "datasets",
    "installation",
    "jobs",
    "models",
    "reviews",
    "uploads",
    "webhooks",
]
