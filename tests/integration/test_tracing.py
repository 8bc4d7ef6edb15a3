"""One trace from the request for a job to the worker's stages, sent to a collector."""

from __future__ import annotations

import gzip
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from app.kit.context import Context
from app.kit.settings import Settings
from app.kit.tracing import Tracing, TracingNotInstalled
from app.main import create_app
from tests.integration.conftest import local_client, post_job, zip_of
from tests.integration.databases import on_sqlite
from tests.integration.stack import photos
from worker.run import run_next
from worker.telemetry import Telemetry

CALLERS_TRACE, CALLERS_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, Span]]]]:
    """Address of a collector, and the (service, span) that it got."""
    got: list[tuple[str, Span]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for part in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {a.key: a.value.string_value for a in part.resource.attributes}
                got.extend(
                    (names["service.name"], span) for s in part.scope_spans for span in s.spans
                )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", got
        finally:
            server.shutdown()
            thread.join()


@on_sqlite
def test_a_job_is_worked_on_in_the_trace_of_its_request(settings: Settings) -> None:
    with collector() as (address, got):
        settings = settings.model_copy(update={"otel_endpoint": address})
        with local_client(create_app(settings)) as client:
            headers = {"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"}
            files = {"dataset": ("a.zip", zip_of(photos()))}
            data = {"config": '{"epochs": 1}'}
            job = client.post("/jobs", files=files, data=data, headers=headers).json()
            client.get("/health/live")
            context: Context = client.app.state.context  # type: ignore[attr-defined]
            tracing = Tracing(settings, "dspt-worker")
            run_next(context, "worker", Telemetry(tracing=tracing))
            done = client.get(f"/jobs/{job['id']}").json()
            assert done["status"] == "succeeded"
            fields = {"model": done["model_id"], "dataset_id": done["dataset"]["id"]}
            batch = client.post("/batches", data=fields).json()
            run_next(context, "worker", Telemetry(tracing=tracing))
            tracing.close()
            assert client.get(batch["links"]["self"]).json()["status"] == "succeeded"
    by_name = {span.name: (service, span) for service, span in got}
    service, request = by_name["POST /jobs"]
    assert (service, request.parent_span_id.hex()) == ("dspt-api", CALLERS_SPAN)
    service, work = by_name["job"]
    assert (service, work.parent_span_id) == ("dspt-worker", request.span_id)
    values = {item.key: item.value for item in work.attributes}
    assert values["dspt.job.id"].string_value == job["id"]
    assert values["dspt.job.attempt"].int_value == 1
    assert values["dspt.job.outcome"].string_value == "succeeded"
    _, ordered = by_name["POST /batches"]
    service, classified = by_name["batch"]
    assert (service, classified.parent_span_id) == ("dspt-worker", ordered.span_id)
    values = {item.key: item.value.string_value for item in classified.attributes}
    assert values["dspt.batch.id"] == batch["id"]
    assert values["dspt.batch.outcome"] == "succeeded"
    stages = {span.name for _, span in got if span.parent_span_id == work.span_id}
    assert {"validating", "encoding", "zero_shot", "tuning", "evaluating", "saving"} == stages
    in_trace = [span for _, span in got if span.trace_id.hex() == CALLERS_TRACE]
    assert len(in_trace) == 8
    assert "GET /health/live" not in by_name


@on_sqlite
def test_nothing_is_traced_unless_a_collector_is_set(settings: Settings) -> None:
    app = create_app(settings)
    with local_client(app) as client:
        job = post_job(client)
        context: Context = app.state.context
        with context.database.read() as session:
            found = session.connection().exec_driver_sql("SELECT traceparent FROM jobs").all()
    assert job["status"] == "queued"
    assert [tuple(row) for row in found] == [(None,)]


@pytest.mark.parametrize("name", ["DSPT_OTEL_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
def test_a_collector_without_the_extra_is_an_error_that_says_how_to_mend_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(TracingNotInstalled, match=rf"{name} is set.*pip install 'dspt\[otel\]'"):
        Tracing(Settings(), "dspt-api")
