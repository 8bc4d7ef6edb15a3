"""Small questions to the database that come at the same moment share one query.

Programs that wait for a job ask for it all the time. To send each of them to a thread of its own,
for queries of its own, costs many times what the answer does.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from sqlalchemy.orm import Session

from app.kit.batching import Batcher
from app.kit.db import Database

Asked = TypeVar("Asked", bound=Hashable)
Answer = TypeVar("Answer")
Question = Callable[[Session, Sequence[Asked]], Sequence[Answer]]
"""Gives the answers in the order of what is asked, in which anything may come twice."""
_Asked = tuple[Question[Any, Any], Any]

#: In one query; more than wait at a moment, and far fewer than the parameters of a query may be.
_MOST = 256
#: Seconds from one round to the next where many ask. To ask costs about a third of it.
_PACE = 0.01


class BatchedReader:
    """One per process. Close it at the end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # One thread: while it asks, the next batch gathers.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lookups")
        self._batcher: Batcher[None, _Asked, Any] = Batcher(
            self._thread, self._answer, _MOST, pace=_PACE
        )
        #: How many wait for their answer.
        self.waiting = 0

    async def query(self, question: Question[Asked, Answer], asked: Asked) -> Answer:
        """The answer, read after this call. Raises what `question` raises."""
        self.waiting += 1
        try:
            return cast(Answer, await self._batcher.submit(None, (question, asked), 1))
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Returns when all have their answers."""
        self._thread.shutdown()

    def _answer(self, _key: None, asked: list[_Asked]) -> list[Any]:
        """One session for all; one call of each question."""
        places: dict[Question[Any, Any], list[int]] = {}
        for place, (question, _) in enumerate(asked):
            places.setdefault(question, []).append(place)
        answers: list[Any] = [None] * len(asked)
        with self._database.read() as session:
            for question, mine in places.items():
                found = question(session, [asked[place][1] for place in mine])
                for place, answer in zip(mine, found, strict=True):
                    answers[place] = answer
        return answers
