"""Messages of which Redis did not confirm that they are done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker.request import Request
from kombu.transport.virtual import QoS

from worker.request import Acknowledged


@pytest.mark.parametrize(("kind", "goes_on"), [(Acknowledged, True), (Request, False)])
def test_a_worker_goes_on_though_redis_did_not_answer(kind: Any, goes_on: bool) -> None:
    qos = QoS(SimpleNamespace(do_restore=False), prefetch_count=1)
    message = SimpleNamespace(channel=SimpleNamespace(qos=qos), delivery_tag="one")
    qos.append(message, "one")
    assert not qos.can_consume()
    request = object.__new__(kind)
    request._message, request.acknowledged, request._connection_errors = message, False, ()
    request._on_ack = lambda logger, errors: None  # Celery logs that Redis was silent
    request.acknowledge()
    assert request.acknowledged
    assert qos.can_consume() == goes_on
    qos._delivered.clear()
