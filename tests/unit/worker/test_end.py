"""The end of the forked process."""

from __future__ import annotations

import subprocess
import sys

from tests.services import clean_environment

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


def test_the_forked_process_does_not_sleep_before_it_ends() -> None:
    environment = clean_environment(DSPT_BROKER_URL="redis://127.0.0.1:1/0")
    ran = subprocess.run(
        [sys.executable, "-P", "-c", POOL], env=environment, capture_output=True, check=True
    )
    assert ran.stdout.split() == [b"0"]
