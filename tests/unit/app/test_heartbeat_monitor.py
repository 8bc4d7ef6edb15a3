"""Who has fallen silent, on a clock that the test sets."""

from __future__ import annotations

from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_the_time_since_the_last_beat_grows_until_it_changes() -> None:
    clock = Clock()
    monitor = HeartbeatMonitor[int](10.0, clock)
    assert monitor.update([("a", 1), ("b", 1)]) == {"a": 0, "b": 0}
    clock.seconds += 4
    assert monitor.update([("a", 1), ("b", 2)]) == {"a": 4, "b": 0}
    clock.seconds += 3
    assert monitor.update([("a", 1), ("b", 2)]) == {"a": 7, "b": 3}
    assert monitor.update([("a", 0), ("b", 2)]) == {"a": 0, "b": 3}


def test_a_name_that_comes_back_starts_at_zero() -> None:
    clock = Clock()
    monitor = HeartbeatMonitor[int](10.0, clock)
    monitor.update([("a", 1)])
    clock.seconds += 4
    assert monitor.update([]) == {}
    clock.seconds += 4
    assert monitor.update([("a", 1)]) == {"a": 0}


def test_time_between_distant_updates_hardly_counts() -> None:
    clock = Clock()
    monitor = HeartbeatMonitor[int](2.0, clock)
    monitor.update([("a", 1)])
    clock.seconds += 3600  # the machine was asleep
    assert monitor.update([("a", 1)]) == {"a": 2}
