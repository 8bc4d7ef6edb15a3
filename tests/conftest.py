"""Set up each pytest process before any test imports torch."""

import atexit
import fcntl
import functools
import gc
import logging
import os
import re
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from dspt.kit.cpus import available_cpus, set_thread_defaults
from dspt.kit.light_torch import import_light
from dspt.kit.memory import permanent
from tests import guarded  # noqa: F401 - for its effect, before any test runs
from tests.depth import DEEP

# As many threads as this process may keep busy.
processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
set_thread_defaults(threads=max(1, available_cpus() // processes))

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before a test imports torch with its compiler, which takes two seconds in each process.
    with permanent():
        import_light()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Import the tests without garbage collection, which would take a third of the time."""
    with permanent():
        try:
            return (yield)
        finally:
            # Seldom: each collection examines what the tests of a file share.
            gc.set_threshold(10_000, *gc.get_threshold()[1:])
            for name, logger in logging.root.manager.loggerDict.items():
                # pytest attaches three handlers in each test to all loggers that do not propagate.
                if name.partition(".")[0] == "torch" and isinstance(logger, logging.Logger):
                    logger.propagate = True


def pytest_configure() -> None:
    """Libraries report what is not collected as leaks when the process ends.

    Not before: pytest searches for garbage several times after the last test.
    """
    atexit.register(gc.unfreeze)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not DEEP and item.get_closest_marker("deep"):
            item.add_marker(pytest.mark.skip(reason="takes long: make test-deep"))


def pytest_xdist_auto_num_workers() -> int:
    """One more pytest process than CPUs: tests that wait for others to start leave some idle."""
    return available_cpus() + 1


_TOGETHER = {
    "the service": r"tests/acceptance/(test_|web/test_page)",
    "a browser": r"tests/acceptance/web/",
    "forked commands and an S3 server": r"tests/integration/test_"
    r"(api_workers|bucket|database_away|doctor|drills|frozen|health|installation|metrics|"
    r"open_streams|pools|restore_drill|review_loop|serve|storage|uploads_in_parts|worker)\.",
    "a tuning": r"tests/integration/pipeline/",
    "scikit-learn": r"tests/unit/(benchmarks/(audit_quality|noise_robustness)/|"
    r"(classifier/test_lda|labels/test_predictions|scripts/test_reference|test_estimator|"
    r"test_imports)\.)",
}
"""What takes seconds to start or to import -> pattern of the files that share it."""


class _Schedule(LoadFileScheduling):
    """A file stays in one process, and so do files that share what takes seconds to start."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        shared = (what for what, files in _TOGETHER.items() if re.match(files, file))
        return next(shared, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Schedule `--dist loadfile` so that one service is started for all, not three."""
    return _Schedule(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True, scope="session")
def _certificates_are_read_once() -> Iterator[None]:
    """Share what clients trust among them: reading it takes a quarter of the start of an API."""
    with pytest.MonkeyPatch.context() as patch:
        import httpx

        cached = functools.cache(httpx.create_ssl_context)
        patch.setattr("httpx._transports.default.create_ssl_context", cached)
        yield


@pytest.fixture(scope="session")
def converted_towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the built-in image tower as OpenVINO reads it; all pytest processes share it.

    The conversion takes half a minute of CPU time, so only the first process does it.
    """
    from dspt.backbones import load_backbone
    from dspt.backbones.compiled import compile_image_tower

    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with (base / "towers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "towers").exists():
            compile_image_tower("builtin", load_backbone("builtin").digest, base / "towers")
    return base / "towers"


@pytest.fixture
def stopped_rate_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock of the rate limits of this process in the middle of a minute.

    Their windows are the minutes of the clock: on a slow machine one may end during a test.
    """
    middle = time.time() // 60 * 60 + 30
    monkeypatch.setattr("limits.aio.storage.memory.time", SimpleNamespace(time=lambda: middle))
