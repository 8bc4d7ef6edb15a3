"""Questions to the database that come at the same moment share a round."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as TimedOut
from sqlalchemy.orm import Session

from app.kit.batched_reader import BatchedReader
from app.kit.db import Database

Rounds = list[tuple[Session, list[int]]]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    yield database
    database.close()


@pytest.fixture
def reader(database: Database) -> Iterator[BatchedReader]:
    reader = BatchedReader(database)
    yield reader
    reader.close()


def test_concurrent_queries_share_the_next_batch_and_get_their_own_values(
    reader: BatchedReader,
) -> None:
    rounds: Rounds = []
    entered, go_on = threading.Event(), threading.Event()

    def squares(session: Session, asked: Sequence[int]) -> list[int]:
        rounds.append((session, list(asked)))
        entered.set()
        go_on.wait()
        return [session.scalar(text(f"SELECT {number * number}")) or 0 for number in asked]

    def signs(session: Session, asked: Sequence[int]) -> list[str]:
        rounds.append((session, list(asked)))
        return ["-" if number < 0 else "+" for number in asked]

    async def scene() -> list[object]:
        first = asyncio.create_task(reader.query(squares, 1))
        await asyncio.to_thread(entered.wait)
        others = [
            asyncio.create_task(coroutine)
            for coroutine in (
                reader.query(squares, 2),
                reader.query(signs, -2),
                reader.query(squares, 2),
                reader.query(squares, 3),
            )
        ]
        await asyncio.sleep(0)  # lets each of them run up to its wait
        assert reader.waiting == 5
        go_on.set()
        return list(await asyncio.gather(first, *others))

    assert asyncio.run(scene()) == [1, 4, "-", 4, 9]
    assert [asked for _, asked in rounds] == [[1], [2, 2, 3], [-2]]
    assert rounds[0][0] is not rounds[1][0]
    assert rounds[1][0] is rounds[2][0]
    assert reader.waiting == 0


def test_an_error_reaches_the_whole_batch_but_not_the_next_one(reader: BatchedReader) -> None:
    def missing(session: Session, asked: Sequence[int]) -> list[int]:
        return [session.execute(text("SELECT * FROM nothing")).scalar_one() for _ in asked]

    def same(_session: Session, asked: Sequence[int]) -> Sequence[int]:
        return asked

    async def scene() -> None:
        failures = await asyncio.gather(
            reader.query(missing, 1), reader.query(missing, 2), return_exceptions=True
        )
        assert [type(failure) for failure in failures] == [OperationalError] * 2
        assert await reader.query(same, 3) == 3

    asyncio.run(scene())
    assert reader.waiting == 0


def test_a_query_has_a_deadline_whatever_the_batch_before_does(database: Database) -> None:
    reader, release, entered = BatchedReader(database, 0.1), threading.Event(), threading.Event()

    def hang(_session: Session, asked: Sequence[int]) -> list[int]:
        entered.set()
        release.wait(60)
        return list(asked)

    async def main() -> int:
        first = asyncio.create_task(reader.query(hang, 1))
        await asyncio.to_thread(entered.wait, 60)
        for query in (reader.query(hang, 2), first):
            with pytest.raises(TimedOut):
                await query
        assert reader.waiting == 0
        release.set()
        return await reader.query(hang, 3)

    try:
        assert asyncio.run(main()) == 3
    finally:
        release.set()
        reader.close()
