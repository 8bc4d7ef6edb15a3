"""The databases of a test that uses `migrated`, `settings`, `context` or `client`: else both."""

from __future__ import annotations

import pytest

from tests.depth import rounds

on_both = pytest.mark.databases("sqlite", "postgresql")
on_sqlite = pytest.mark.databases("sqlite")
on_postgres = pytest.mark.databases("postgresql")
#: For tests of calls whose statements other tests send to PostgreSQL; `make test-deep`: both.
sqlite_first = rounds(on_sqlite, on_both)
