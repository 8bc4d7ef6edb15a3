"""The chart's ScaledJob against a real PostgreSQL: pods start with the work, and end without it.

No cluster runs here. `Keda` does KEDA's arithmetic on the query of the chart, once each polling
interval, and a `Pod` claims work as a worker does, through the same leases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from dspt_client.schemas.status import TERMINAL, Status
from sqlalchemy import func, select, text, update

from app.batches.lease import BatchLease
from app.comparisons.lease import ComparisonLease
from app.installation.service import ensure
from app.jobs.lifecycle.lease import JobLease
from app.kit.context import Context
from app.kit.ids import new_id
from app.leased.lease import Lease, claim_first
from app.tables.batches import Batch
from app.tables.comparisons import Comparison
from app.tables.jobs import Job
from tests.chart import VALUES, of_kind, rendered
from tests.integration.conftest import settings_for
from tests.integration.jobs import ERROR, Watch, add_job, bring_to, read_job, statuses
from tests.services import postgres_database

POOL = "l4"
LEASES: list[type[Lease[Any]]] = [JobLease, BatchLease, ComparisonLease]


@pytest.fixture
def context(postgres_template: str, tmp_path: Path) -> Iterator[Context]:
    """As a worker of the pool sees the installation."""
    with postgres_database(postgres_template) as url:
        settings = settings_for(url, tmp_path / "data").model_copy(update={"worker_pool": POOL})
        opened = Context.open(settings)
        ensure(opened)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def scaled_job() -> dict[str, Any]:
    """What the chart says of the pool."""
    objects = of_kind(rendered(VALUES[0].with_name("pools.yaml")), "ScaledJob")
    spec: dict[str, Any] = objects[f"dspt-worker-{POOL}"]["spec"]
    return spec


def idle_polls(spec: dict[str, Any]) -> int:
    """Polls without work after which a pod ends."""
    command = spec["jobTargetRef"]["template"]["spec"]["containers"][0]["command"]
    seconds = int(command[command.index("--exit-when-idle") + 1])
    return math.ceil(seconds / spec["pollingInterval"])


@dataclass
class Pod:
    """A worker pod. It starts, works on what it claims for `work` polls, and ends when idle."""

    context: Context
    starts_in: int
    work: Callable[[], int]
    idle_polls: int
    lease: Lease[Any] | None = None
    left: int = 0
    idle: int = 0

    def step(self) -> bool:
        """One polling interval; return whether the pod is still there."""
        if self.starts_in:
            self.starts_in -= 1
            return True
        if self.lease is not None:
            self.left -= 1
            if self.left > 0:
                return True
            self.lease.fail(ERROR)  # how work ends makes no difference here
        self.lease = claim_first(self.context, "worker", LEASES)
        if self.lease is not None:
            self.left, self.idle = self.work(), 0
            return True
        self.idle += 1
        return self.idle < self.idle_polls


@dataclass
class Keda:
    """KEDA's operator and its pods.

    As in pkg/scaling/executor/scale_jobs.go and pkg/scaling/scaledjob/metrics.go of KEDA; it never
    stops a pod of a ScaledJob.
    """

    context: Context
    spec: dict[str, Any]
    starts_in: int = 1
    work: Callable[[], int] = lambda: 10
    pods: list[Pod] = field(default_factory=list)

    def poll(self) -> int:
        """Start pods, and let one polling interval pass; return the number of pods."""
        for _ in range(self._missing()):
            self.pods.append(Pod(self.context, self.starts_in, self.work, idle_polls(self.spec)))
        self.pods = [pod for pod in self.pods if pod.step()]
        return len(self.pods)

    @property
    def busy(self) -> int:
        return sum(pod.lease is not None for pod in self.pods)

    def _missing(self) -> int:
        [trigger] = self.spec["triggers"]
        metadata, most = trigger["metadata"], self.spec["maxReplicaCount"]
        with self.context.database.read() as session:
            queue_length = float(session.execute(text(metadata["query"])).scalar_one())
        if not queue_length:
            return 0
        scale = math.ceil(min(queue_length / float(metadata["targetQueryValue"]), most))
        running = len(self.pods)
        pending = sum(pod.starts_in > 0 for pod in self.pods)
        if self.spec["scalingStrategy"]["strategy"] == "accurate":
            missing = most - running if scale + running > most else scale - pending
        else:
            missing = scale - running
        return max(0, min(math.ceil(queue_length), missing))


def add(context: Context, count: int = 1, pool: str = POOL) -> list[str]:
    """Queue jobs in a pool."""
    jobs = [add_job(context) for _ in range(count)]
    with context.database.write() as session:
        session.execute(update(Job).where(Job.id.in_(jobs)).values(pool=pool))
    return jobs


def test_from_nothing_to_as_many_as_there_is_work_and_back(
    context: Context, scaled_job: dict[str, Any]
) -> None:
    keda = Keda(context, scaled_job)
    assert [keda.poll() for _ in range(3)] == [0, 0, 0]
    jobs = add(context, 2)
    keda.poll()
    assert keda.poll() == keda.busy == 2
    jobs += add(context, 4)  # more than maxReplicaCount
    keda.poll()
    keda.poll()
    assert len(keda.pods) == keda.busy == scaled_job["maxReplicaCount"] == 3
    while keda.busy:
        assert keda.poll() == 3
    counts = [keda.poll() for _ in range(idle_polls(scaled_job))]
    assert counts[0] == 3  # they wait for more work
    assert counts[-1] == 0
    assert {read_job(context, job).status for job in jobs} == {Status.FAILED}
    assert {read_job(context, job).attempt for job in jobs} == {1}  # none was interrupted


def test_slow_starts_do_not_start_more(context: Context, scaled_job: dict[str, Any]) -> None:
    keda = Keda(context, scaled_job, starts_in=20)
    add(context, 2)
    assert [keda.poll() for _ in range(20)] == [2] * 20
    keda.poll()
    assert keda.busy == 2


def test_idle_pods_are_used_before_new_ones_start(
    context: Context, scaled_job: dict[str, Any]
) -> None:
    keda = Keda(context, scaled_job, work=lambda: 2)
    add(context, 2)
    while not keda.busy:
        keda.poll()
    while keda.busy:
        keda.poll()
    before = list(keda.pods)
    add(context, 2)
    keda.poll()
    assert keda.pods == before
    assert keda.busy == 2


def test_the_other_strategy_would_start_pods_for_running_work(
    context: Context, scaled_job: dict[str, Any]
) -> None:
    """So the simulator can tell them apart, and the chart has the one that fits its query."""
    assert scaled_job["scalingStrategy"] == {"strategy": "default"}
    keda = Keda(context, {**scaled_job, "scalingStrategy": {"strategy": "accurate"}})
    add(context, 1)
    assert [keda.poll() for _ in range(4)][-1] == 3
    assert keda.busy == 1


def test_all_unfinished_work_of_the_pool_counts_and_no_other(
    context: Context, scaled_job: dict[str, Any]
) -> None:
    query = text(scaled_job["triggers"][0]["metadata"]["query"])

    def count() -> int:
        with context.database.read() as session:
            return int(session.execute(query).scalar_one())

    unfinished = 0
    for status in Status:
        job = bring_to(context, status)
        assert count() == unfinished  # it is in another pool
        with context.database.write() as session:
            session.execute(update(Job).where(Job.id == job).values(pool=POOL))
        unfinished += status not in TERMINAL
        assert count() == unfinished, status
    now = datetime.now(UTC)
    queued = {
        "owner": "local",
        "name": "a",
        "pool": POOL,
        "status": Status.QUEUED,
        "created_at": now,
        "queued_at": now,
        "request_sha256": "0" * 64,
    }
    with context.database.write() as session:
        session.add(
            Batch(
                id=new_id("bat"),
                model_id=new_id("mdl"),
                filename="a.zip",
                size_bytes=1,
                options={},
                **queued,
            )
        )
        session.add(
            Comparison(
                id=new_id("cmp"),
                a_model_id=new_id("mdl"),
                b_model_id=new_id("mdl"),
                dataset_id=new_id("ds"),
                all_photos=True,
                **queued,
            )
        )
    assert count() == unfinished + 2


def test_the_work_of_a_dead_pod_is_done_by_another(
    context: Context, scaled_job: dict[str, Any]
) -> None:
    keda = Keda(context, scaled_job)
    [job] = add(context)
    while not keda.busy:
        keda.poll()
    keda.pods.clear()  # its node is lost
    watch = Watch(context)
    watch.reap()
    assert keda.poll() == 1
    assert watch.reap(after=1) == 1
    keda.poll()
    assert keda.busy == 1
    assert read_job(context, job).attempt == 2


def test_any_amount_of_work_is_done_once_without_idle_waiting(
    context: Context, scaled_job: dict[str, Any]
) -> None:
    random = Random(17)
    keda = Keda(context, scaled_job, starts_in=3, work=lambda: random.randint(1, 12))
    most, jobs, waited = scaled_job["maxReplicaCount"], list[str](), 0
    for _ in range(100):
        if random.random() < 0.2:
            jobs += add(context, random.choice((1, 1, 1, 2, 6)))
        if random.random() < 0.1:
            add(context, 1, pool="burst")
        keda.poll()
        with context.database.read() as session:
            query = select(func.count()).where(Job.pool == POOL, Job.status.not_in(TERMINAL))
            unfinished = session.scalar(query) or 0
        assert len(keda.pods) <= most
        # As many are at work as there is work for, two polls after they have had time to start.
        waited = waited + 1 if keda.busy < min(unfinished, most) else 0
        assert waited <= keda.starts_in + 2
    while keda.poll():
        pass
    assert len(jobs) > 20
    for job in jobs:
        assert statuses(context, job) == ["queued", "validating", "failed"]
