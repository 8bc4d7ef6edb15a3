"""API processes that share a port, before they start."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from app.serve import ServeError, processes
from app.serve.listener import bind
from app.serve.part import Plan


def patiences(count: int, patch: pytest.MonkeyPatch) -> set[float]:
    """Seconds that each of the processes has to become ready."""
    started: list[Plan] = []

    class Stopped:
        def start(self, plans: Sequence[Plan]) -> bool:
            started.extend(plans)
            return False

    @contextmanager
    def supervising(*_: object) -> Iterator[Stopped]:
        yield Stopped()

    patch.setattr(processes, "supervising", supervising)
    processes.serve(count, "127.0.0.1", 0, 1, print)
    assert len(started) == count
    return {plan.patience for plan in started}


def test_many_processes_have_more_time_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert patiences(2, monkeypatch) == {140}
    assert patiences(16, monkeypatch) == {280}


def test_an_address_of_ipv6_takes_no_connections_of_ipv4() -> None:
    try:
        listener = bind("::", 0)
    except ServeError:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
