"""Jobs under all events that can happen to them, in random orders.

Hypothesis draws the steps; the service takes them on a real database and a model in plain Python
predicts how each goes. After each step all tables have to look as the model says, and at the end
one healthy worker has to bring every job to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from copy import deepcopy
from functools import partial
from itertools import count
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor
from app.jobs.lifecycle.outbox import LOST_SECONDS, Outbox
from app.kit.context import Context
from app.kit.settings import Settings
from tests.depth import rounds
from tests.integration.conftest import MigratedDatabase
from tests.integration.job_calls import ZIPS, JobCalls, jobs_seen, submit
from tests.integration.job_model import (
    ASKED,
    DONE,
    MAX_ATTEMPTS,
    TERMINAL,
    WORKED,
    JobModel,
)
from tests.integration.jobs import Watch, files_in

EXAMPLES = rounds(10, 400)
MAX_JOBS = 3
#: Which of several: taken modulo how many there are, so that nothing drawn depends on what
#: happened, as the outcome of a race does not come again.
WHICH = st.integers(0, 11)
NAMES = st.sampled_from(["claim", *ASKED, *WORKED])

#: A method of JobModel and JobCalls, and what it takes.
Step = tuple[str, tuple[int, ...]]
Opened = Callable[[], AbstractContextManager[Context]]


class JobMachine(RuleBasedStateMachine):
    """A few jobs; workers alive, dead and late; a broker; people who ask."""

    def __init__(self, opened: Opened) -> None:
        super().__init__()
        self._exit = ExitStack()
        self.context = self._exit.enter_context(opened())
        #: Of each job, what should become of it, and the job itself.
        self.models: list[JobModel] = []
        self.calls: list[JobCalls] = []
        #: Idempotency-Key -> number of the job that it made, and of its zip.
        self.keys: dict[str, tuple[int, int]] = {}
        self.submitted = 0
        self.watch = Watch(self.context)
        #: Messages, each the id of a job.
        self.broker: list[str] = []
        self.seconds = 0.0
        self.outbox = Outbox(
            self.context, lambda id_, _pool: self.broker.append(id_), lambda _: len(self.broker)
        )
        self.outbox._missing = HeartbeatMonitor(float("inf"), lambda: self.seconds)
        self.agrees = True

    @precondition(lambda self: self.submitted < MAX_JOBS)
    @rule(zip_number=st.integers(0, 1), key=st.sampled_from([None, None, "a"]))
    def submit(self, zip_number: int, key: str | None) -> None:
        """The same key makes one job, as long as that is there."""
        self.submitted += 1
        with self._compared():
            how, job_id = submit(self.context, ZIPS[zip_number], key)
            made = self.keys.get(key) if key else None
            if made is None or self.models[made[0]].deleted:
                assert how == DONE
                if key is not None:
                    self.keys[key] = len(self.models), zip_number
                self.models.append(JobModel())
                self.calls.append(JobCalls(self.context, job_id))
            elif made[1] == zip_number:
                assert (how, job_id) == ("replayed", self.calls[made[0]].job_id)
            else:
                assert how == "idempotency_key_reused"

    @rule(which=WHICH, again=st.booleans())
    def deliver(self, which: int, again: bool) -> None:
        """A message from the broker to a worker, who claims the job; some come twice."""
        self._relay()
        if self.broker:
            self._deliver(which % len(self.broker), again=again)

    @precondition(lambda self: self.submitted)
    @rule(which=WHICH, choice=WHICH)
    def go_on(self, which: int, choice: int) -> None:
        """One of the steps that should be taken."""
        number = which % len(self.models)
        steps = _steps(self.models[number])
        if steps:
            self._take(number, steps[choice % len(steps)])

    @precondition(lambda self: self.submitted)
    @rule(which=WHICH, name=NAMES, claim=WHICH)
    def try_it(self, which: int, name: str, claim: int) -> None:
        """Any step, mostly one that should be refused; also by a worker that lost its lease."""
        number = which % len(self.models)
        claims = self.models[number].claims
        if name not in WORKED:
            self._take(number, (name, ()))
        elif claims:
            self._take(number, (name, (claim % claims,)))

    @precondition(lambda self: self.submitted)
    @rule(which=WHICH, choice=WHICH, claim=WHICH)
    def come_back_late(self, which: int, choice: int, claim: int) -> None:
        """A worker that lost its lease does what the one that has the job now might do."""
        late = [number for number, model in enumerate(self.models) if model.holder]
        if late:
            number = late[which % len(late)]
            model = self.models[number]
            names = [name for name, arguments in _steps(model) if arguments]
            self._take(number, (names[choice % len(names)], (claim % (model.claims - 1),)))

    @precondition(lambda self: self.submitted)
    @rule(which=WHICH, further=st.sampled_from([0, 0, 1]), choices=st.tuples(WHICH, WHICH))
    def race(self, which: int, further: int, choices: tuple[int, int]) -> None:
        """Two steps at once, mostly on one job: as if one had come after the other."""
        numbers = [(which + offset) % len(self.models) for offset in (0, further)]
        possible = [_steps(self.models[number]) for number in numbers]
        if not all(possible):
            return
        steps = [
            found[choice % len(found)] for found, choice in zip(possible, choices, strict=True)
        ]
        start = Barrier(2)

        def run(number: int, step: Step) -> str:
            start.wait()
            return _call(self.calls[number], step)

        with self._compared(), ThreadPoolExecutor(2) as threads:
            found = list(threads.map(run, numbers, steps))
            note(f"at once: {numbers}: {steps}: {found}")
            orders = []
            for order in ((0, 1), (1, 0)):
                models = deepcopy(self.models)
                how = {i: _call(models[numbers[i]], steps[i]) for i in order}
                orders.append(([how[0], how[1]], [model.seen() for model in models], models))
            outcome = found, jobs_seen(self.context, self.calls)
            fitting = [models for *predicted, models in orders if predicted == list(outcome)]
            assert fitting, f"{outcome} is neither of {[predicted for *predicted, _ in orders]}"
            self.models = fitting[0]

    @rule(alive=st.lists(st.booleans(), min_size=MAX_JOBS, max_size=MAX_JOBS))
    def time_passes(self, alive: list[bool]) -> None:
        """Workers that are alive renew their leases; from the others the jobs are taken back."""
        with self._compared():
            assert self.watch.reap() == 0
            lost = []
            for model, calls, lives in zip(self.models, self.calls, alive, strict=False):
                if model.holder is not None and lives:
                    assert calls.renew(model.holder) == DONE
                elif model.holder is not None:
                    lost.append(model)
            assert self.watch.reap(after=1) == len(lost)
            for model in lost:
                model.reap()

    @rule()
    def broker_forgets(self) -> None:
        """It was restarted without its data: what is still queued is sent again."""
        with self._compared():
            self.broker.clear()
            self._relay()
            missing = len([model for model in self._queued() if model.sent]) - len(self.broker)
            self.seconds += LOST_SECONDS
            assert self.outbox.relay() == max(0, missing)

    def teardown(self) -> None:
        try:
            if self.agrees:
                self._end_all()
        finally:
            self._exit.close()

    def _end_all(self) -> None:
        """All workers die and the broker forgets; then one healthy worker ends what is left."""
        self.time_passes([False] * MAX_JOBS)
        for _ in range(2):  # what is sent again waits until what was sent first is taken
            self.broker_forgets()
            while self.broker:
                number = self._deliver(0, again=False)
                for name in ("start", "succeed"):
                    holder = self.models[number].holder
                    if holder is not None:
                        self._take(number, (name, (holder,)))
        assert all(model.deleted or model.status in TERMINAL for model in self.models)
        for number in range(len(self.models)):
            self._take(number, ("delete", ()))
        assert files_in(self.context) == set()

    def _take(self, number: int, step: Step) -> None:
        with self._compared():
            expected = _call(self.models[number], step)
            note(f"{number}: {step}: {expected}")
            assert _call(self.calls[number], step) == expected

    def _deliver(self, at: int, *, again: bool) -> int:
        job_id = self.broker[at] if again else self.broker.pop(at)
        number = [calls.job_id for calls in self.calls].index(job_id)
        self._take(number, ("claim", ()))
        return number

    def _relay(self) -> None:
        with self._compared():
            unsent = [model for model in self._queued() if not model.sent]
            assert self.outbox.relay() == len(unsent)
            for model in unsent:
                model.sent = True

    def _queued(self) -> list[JobModel]:
        return [model for model in self.models if model.status == "queued"]

    @contextmanager
    def _compared(self) -> Iterator[None]:
        """Afterwards the tables have to show what the models say."""
        self.agrees = False
        yield
        assert jobs_seen(self.context, self.calls) == [model.seen() for model in self.models]
        self.agrees = True


def _call(target: JobModel | JobCalls, step: Step) -> str:
    name, arguments = step
    how: str = getattr(target, name)(*arguments)
    return how


def _steps(model: JobModel) -> list[Step]:
    """What the model would do; a claim takes a message, and looking is no step."""
    held = () if model.holder is None else (model.holder,)
    steps = [(name, ()) for name in ("claim", *ASKED)] + [(name, held) for name in WORKED if held]
    return [step for step in steps if _call(deepcopy(model), step) == DONE]


def test_no_illegal_state_and_no_event_lost_or_doubled(
    migrated: MigratedDatabase, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    numbers = count()
    # PostgreSQL takes several times as long.
    examples = EXAMPLES // 3 if "postgresql" in request.node.name else EXAMPLES

    @contextmanager
    def opened() -> Iterator[Context]:
        folder = tmp_path / str(next(numbers))
        with migrated(folder) as url:
            context = Context.open(
                Settings(data_dir=folder, database_url=url, max_attempts=MAX_ATTEMPTS)
            )
            try:
                yield context
            finally:
                context.close()

    run_state_machine_as_test(
        partial(JobMachine, opened),
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            derandomize=True,
            database=None,
            deadline=None,
            # The story of a failure is short enough; with a race in it, it seldom comes again.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
