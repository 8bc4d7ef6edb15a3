"""A job that no worker takes waits, says so, and is done once a worker comes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx

from scripts.demo.stack import running_stack
from tests.acceptance.photos import good_zip
from tests.acceptance.service import ENDED, get_job, post_job, until
from tests.services import free_port, wait_until


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_a_job_waits_for_a_worker_and_is_not_lost(
    tmp_path: Path, stack_environment: dict[str, str]
) -> None:
    data_dir, port = tmp_path / "data", free_port()
    data_dir.mkdir()
    # Nothing is predicted here, and the conversion of the image tower takes half a minute.
    environment = stack_environment | {
        "DSPT_PREDICT_ENGINE": "torch",
        "DSPT_STOP_DELAY_SECONDS": "0",
    }
    address = f"http://127.0.0.1:{port}"
    with (
        (tmp_path / "api.log").open("wb") as log,
        subprocess.Popen(
            [str(Path(sys.executable).with_name("dspt")), "api", "--port", str(port)],
            env={**os.environ, **environment, "DSPT_DATA_DIR": str(data_dir)},
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as api,
    ):
        try:
            wait_until(lambda: answers(f"{address}/health/live"), 120, "the API alone")
            with httpx.Client(base_url=address) as client:
                response = post_job(client, good_zip())
                assert response.status_code == 202
                job = response.json()
                for seen in (job, get_job(client, job["id"])):
                    assert seen["status"] == "queued"
                    assert "no worker is running" in seen["progress"]["message"]
                    assert "dspt worker" in seen["progress"]["message"]
                ready = client.get("/health/ready").json()
                assert ready["checks"]["workers"]["status"] == "none"
        finally:
            api.terminate()
            api.wait(120)

    log_file = tmp_path / "serve.log"
    with (
        running_stack(data_dir, log_file, environment) as address,
        httpx.Client(base_url=address) as client,
    ):
        assert until(client, job["id"], *ENDED)["status"] == "succeeded"
