"""What the processes of a worker import, and how they end."""

from __future__ import annotations

import subprocess
import sys

from tests.services import clean_environment

#: `dspt worker` up to the start of Celery.
PARENT = """if True:
    import sys
    import celery.apps.worker
    import worker.cli

    worker.cli._in_child = lambda work: None
    celery.apps.worker.Worker.start = lambda self: print(*sys.modules)
    worker.cli.worker()"""

#: Celery's pool of one process, which sleeps no more once its first task has run.
POOL = """if True:
    import os, time
    from billiard.pool import Pool
    from celery.concurrency.prefork import process_destructor
    import worker.celery_app

    def no_more_sleep():
        time.sleep = lambda seconds: os._exit(99)

    pool = Pool(1, on_process_exit=process_destructor)
    [process] = pool._pool
    pool.apply(no_more_sleep)
    pool.close()
    pool.join()
    print(process.exitcode)"""


def run(code: str) -> list[str]:
    environment = clean_environment(DSPT_BROKER_URL="redis://127.0.0.1:1/0")
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return ran.stdout.split()


def test_the_parent_imports_only_what_it_needs_itself() -> None:
    web = {"fastapi", "starlette", "uvicorn", "httpx"}
    # Celery's command line imports the last two.
    others = {"torch", "numpy", "PIL", "openvino", "alembic", "click_repl", "prompt_toolkit"}
    imported = set(run(PARENT))
    assert "sqlalchemy" in imported
    assert imported & (web | others) == set()


def test_the_forked_process_does_not_sleep_before_it_ends() -> None:
    assert run(POOL) == ["0"]
