"""Of several API processes on one PostgreSQL, one runs the loops and reports the figures of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import make_url, text

from app.background import Background
from app.kit.background_loop import Loop, stop_all
from app.kit.context import Context
from app.kit.db import Database
from app.kit.leader import Leader
from app.kit.settings import Settings
from app.main import create_app
from tests.integration.conftest import local_client
from tests.integration.databases import on_postgres
from tests.services import wait_until

pytestmark = on_postgres

QUICK = 0.05


class Process:
    """A process as far as the lead is concerned."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.rounds = 0
        self.work = Loop("work", self._count, QUICK)
        self.leader = Leader(self.database, [self.work], QUICK)
        self.leader.start()
        for loop in self._loops:
            loop.start()

    @property
    def _loops(self) -> list[Loop]:
        return [self.work, *self.leader.loops]

    def stop(self) -> None:
        stop_all(self._loops)
        self.leader.close()
        self.database.close()

    def _count(self) -> None:
        self.rounds += 1


@pytest.fixture
def processes(database_url: str) -> Iterator[list[Process]]:
    with ExitStack() as stack:
        found = [Process(database_url) for _ in range(3)]
        for each in found:
            stack.callback(each.stop)
        yield found


def leaders(processes: list[Process]) -> list[Process]:
    return [each for each in processes if each.leader.leads()]


def test_one_process_works_and_another_one_takes_over(processes: list[Process]) -> None:
    [first] = leaders(processes)
    wait_until(lambda: first.rounds > 2, 60, "rounds of the leader")
    others = [each for each in processes if each is not first]
    assert sum(each.rounds for each in others) == 0
    first.stop()
    wait_until(lambda: bool(leaders(others)), 60, "another leader")
    [second] = leaders(others)
    wait_until(lambda: second.rounds > 2, 60, "its rounds")
    before = first.rounds
    assert [each.rounds for each in others if each is not second] == [0]
    assert first.rounds == before


def test_each_process_deletes_what_is_on_its_own_disk(context: Context) -> None:
    """Only the leader deletes what they share."""
    found = [Background(context) for _ in range(2)]
    for each in found:
        each._leader.start()
    loops = [{loop.name: loop.runs() for loop in each.loops} for each in found]
    for each in found:
        each.close()
    assert [each["garbage collection"] for each in loops] == [True, False]
    assert [each["local garbage collection"] for each in loops] == [True, True]


def test_a_leader_that_loses_its_connection_stops_work(processes: list[Process]) -> None:
    [first] = leaders(processes)
    gone = first.leader._held
    with processes[0].database.write() as session:
        # As the server does when it restarts, or has not heard from the leader.
        killed = text(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        assert session.execute(killed).all() == [(True,)]
    wait_until(lambda: first.leader._held is not gone, 60, "the leader to notice")
    wait_until(lambda: len(leaders(processes)) == 1, 60, "one leader again")
    [second] = leaders(processes)
    rounds = second.rounds
    wait_until(lambda: second.rounds > rounds, 60, "its work")


def test_the_figures_of_all_are_reported_once(settings: Settings) -> None:
    apps = [create_app(settings) for _ in range(2)]
    with local_client(apps[0]) as one, local_client(apps[1]) as other:
        reported = ["dspt_jobs{" in client.get("/metrics").text for client in (one, other)]
        assert reported == [True, False]
        assert "dspt_http_requests_total" in other.get("/metrics").text
        job_loops = 'dspt_loop_last_success_timestamp_seconds{loop="leader"}'
        assert all(job_loops in client.get("/metrics").text for client in (one, other))


def test_connections_through_pgbouncer_keep_no_session(context: Context) -> None:
    url = make_url(context.settings.database_url).update_query_dict({"pgbouncer": "true"})
    database = Database(url.render_as_string(hide_password=False))
    try:
        for _ in range(10):  # psycopg prepares a statement that it has seen five times
            database.check()
        with database.engine.connect() as connection:
            prepared = connection.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
            assert prepared == 0
            assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "0"
    finally:
        database.close()
