"""One service on several hosts for all tests; only `make test-scale` runs them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.scale.cluster import Cluster, running_cluster
from benchmarks.scale.network import missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("DSPT_TEST_SCALE") == "1":
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="takes long: make test-scale"))


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A service without hosts; tests add those that they need, and leave them running."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    folder: Path = tmp_path_factory.mktemp("hosts")
    # A job that loses a worker again and again fails at the third time, which is tested elsewhere.
    with running_cluster(folder, DSPT_MAX_ATTEMPTS="20") as cluster:
        yield cluster
