"""The running API against its own OpenAPI document: Schemathesis sends unexpected requests.

Each operation gets requests that fit the document and requests that do not, and sequences of
requests in which one uses what another made. Nothing may be answered that the document does not
say, nothing by a 5xx, nothing without a key, and no key gets at what belongs to another owner.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from app.access import keys
from app.kit.context import Context
from app.kit.http.rules import Scope
from app.kit.schema import migrate
from app.kit.settings import Settings
from tests.depth import rounds
from tests.integration.conftest import zip_of
from tests.integration.stack import photos
from tests.services import clean_environment, free_port, redis_server, wait_until
from worker.run import run_next

EXAMPLES = rounds(4, 50)
"""Requests to each operation, in each phase that draws them."""

METHODS = rounds(["DELETE", "PUT"], ["DELETE", "GET", "PATCH", "POST", "PUT", "TRACE"])
"""What is sent to each path that has no such operation."""

WITH_FILES = [
    "POST /batches",
    "POST /datasets",
    "POST /datasets/{dataset_id}/images",
    "POST /jobs",
    "POST /jobs/{job_id}/corrections",
    "POST /models",
    "POST /models/{model_id}/classes",
    "POST /models/{name}/predict",
    "POST /predict",
]

MAY_BE_WRONG = [
    "POST /comparisons",
    "POST /feedback",
    "POST /jobs/check",
    "POST /models/compare",
    "POST /models/{name}/retrain",
]

#: What fits the document may exceed a limit of the service, be no key, name an old version, or be
#: for admins.
LIMITED = [
    "DELETE /keys/{key_id}",
    "GET /keys",
    "PATCH /jobs/{job_id}/review",
    "POST /aliases/{name}/rollback",
    "POST /keys",
    "POST /session",
    "POST /uploads",
    "POST /webhooks",
    "PUT /aliases/{name}",
    "PUT /uploads/{upload_id}/parts/{number}",
]

CONFIG = """
seed = 1
hooks = "tests.integration.schemathesis_hooks"
continue-on-failure = true
cache.enabled = false

[generation]
deterministic = true
no-shrink = true
max-examples = {examples}

# Whose key is asked for depends on the operation alone; the other phases look at each.
[phases.coverage]
unexpected-methods = {methods}
checks.ignored_auth.enabled = false

[dictionaries]
jobs = {{ values = {jobs} }}
models = {{ values = {models} }}
aliases = {{ values = {aliases} }}

# What is in a file, or in a text of JSON, may fit the document and still be wrong.
[[operations]]
include-name = {with_files}
checks.positive_data_acceptance.expected-statuses = ["2xx", 401, 404, 409, 422]

[[operations]]
include-name = {limited}
checks.positive_data_acceptance.expected-statuses = [
    "2xx", 400, 401, 403, 404, 409, 412, 413, 422, 429,
]

# What was made beforehand is not deleted.
[[operations]]
include-path-regex = "^/jobs/"
exclude-method = "DELETE"
parameters.job_id = {{ dictionary = "jobs", probability = 0.5 }}

[[operations]]
include-path-regex = "^/models/"
exclude-method = "DELETE"
parameters.model_id = {{ dictionary = "models", probability = 0.5 }}

[[operations]]
include-path-regex = "^/aliases/"
exclude-method = "DELETE"
parameters.name = {{ dictionary = "aliases", probability = 0.5 }}

[auth.wfc]
path = "{users}"
user = "alice"
peers = ["alice", "bob"]
"""


@dataclass(frozen=True)
class Known:
    """What there is before Schemathesis begins."""

    jobs: list[str]
    """One that has succeeded, one that was cancelled, one that waits."""
    datasets: list[str]
    models: list[str]
    aliases: list[str]
    prediction: str
    """Id of a captured one."""
    artifact: str
    """Path of a file that can be imported."""
    accepted: str
    """File for the operations that accepted a drawn body, a line each."""


def test_the_api_does_what_its_document_says(tmp_path: Path) -> None:
    with redis_server() as broker:
        settings = Settings(
            data_dir=tmp_path / "data",
            broker_url=broker.url,
            requests_per_minute=1_000_000,
            max_queued_jobs_per_owner=10_000,
            max_upload_bytes=1_000_000,
            max_body_bytes=1_000_000,
        )
        migrate(settings.database_url)
        context = Context.open(settings)
        try:
            tokens = _keys(context)
            with _api(settings, tmp_path / "api.log") as (address, pid):
                known = _things(address, tokens["alice"], context, tmp_path / "accepted")
                libraries = Path(f"/proc/{pid}/maps").read_text()
                assert "libtorch" in libraries
                assert "libtriton" not in libraries  # of torch's compiler
                process = _schemathesis(address, tokens, known, tmp_path)
        finally:
            context.close()
    log = (tmp_path / "api.log").read_text()
    assert process.returncode == 0, f"{process.stdout}\n{process.stderr}\n{log}"
    assert "unexpected error" not in log, log
    sys.stdout.write(process.stdout[process.stdout.index("SUMMARY") :])
    report = json.loads((tmp_path / "report.json").read_text())
    assert {phase["status"] for phase in report["phases"].values()} == {"success"}
    assert report["operations"]["tested"] == report["operations"]["total"]
    # Which bodies are drawn is chance, but most operations get some that make sense.
    accepted = set((tmp_path / "accepted").read_text().splitlines())
    assert len(accepted.intersection(WITH_FILES)) >= 6, accepted


@contextmanager
def _api(settings: Settings, log: Path) -> Iterator[tuple[str, int]]:
    """`dspt api` on a free port; gives its address and the id of its process."""
    port = free_port()
    environment = clean_environment(
        DSPT_PREDICT_ENGINE="torch",  # to compile an image tower takes seconds
        DSPT_PREDICT_WARM_UP="builtin",
        **{
            f"DSPT_{name.upper()}": str(getattr(settings, name))
            for name in settings.model_fields_set
        },
        DSPT_PORT=str(port),
        DSPT_LOG_LEVEL="WARNING",
        OMP_NUM_THREADS="1",
    )
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "app.cli", "api"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        address = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: _answers(address, process), 120, "the API")
            yield address, process.pid
        finally:
            process.terminate()


def _answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None
    try:
        return httpx.get(f"{address}/health/live").is_success
    except httpx.TransportError:
        return False


def _keys(context: Context) -> dict[str, str]:
    """Owner -> what to send."""
    scopes = [Scope.READ, Scope.SUBMIT, Scope.METRICS]
    with context.database.write() as session:
        return {owner: keys.create(session, owner, owner, scopes)[1] for owner in ("alice", "bob")}


def _things(address: str, token: str, context: Context, accepted: Path) -> Known:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
        jobs = []
        for number in range(3):
            files = {"dataset": ("a.zip", zip_of(photos(per_class=4 + number)))}
            response = client.post("/jobs", files=files, data={"config": '{"epochs": 1}'})
            assert response.status_code == 202, response.text
            jobs.append(response.json()["id"])
        run_next(context, "worker")
        done = client.get(f"/jobs/{jobs[0]}").json()
        assert done["status"] == "succeeded"
        assert client.post(f"/jobs/{jobs[1]}/cancel").status_code == 202
        [model] = client.get("/models").json()["data"]
        client.patch(f"/models/{model['id']}", json={"alias": "production"}).raise_for_status()
        photo = ("a.png", photos(per_class=1).popitem()[1])
        captured = client.post(
            "/predict", data={"model": "production", "capture": "true"}, files={"images": photo}
        )
        prediction = captured.json()["predictions"][0]["prediction"]
        artifact = context.settings.data_dir / "artifact.safetensors"
        artifact.write_bytes(client.get(model["links"]["artifact"]).content)
    datasets = [done["dataset"]["id"]]
    return Known(
        jobs, datasets, [model["id"]], ["production"], prediction, str(artifact), str(accepted)
    )


def _schemathesis(
    address: str, tokens: dict[str, str], known: Known, folder: Path
) -> subprocess.CompletedProcess[str]:
    users = [
        {
            "name": owner,
            "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token}"}],
        }
        for owner, token in tokens.items()
    ]
    users_file, config_file = folder / "users.json", folder / "schemathesis.toml"
    users_file.write_text(json.dumps({"auth": users}))
    config = CONFIG.format(
        examples=EXAMPLES,
        methods=json.dumps(METHODS),
        users=users_file,
        with_files=json.dumps([*WITH_FILES, *MAY_BE_WRONG]),
        limited=json.dumps(LIMITED),
        jobs=json.dumps(known.jobs),
        models=json.dumps(known.models),
        aliases=json.dumps(known.aliases),
    )
    config_file.write_text(config)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config_file)]
    command += ["run", f"{address}/openapi.json", "--checks", "all"]
    command += ["--report-json-path", str(folder / "report.json")]
    environment = clean_environment(DSPT_TEST_KNOWN=json.dumps(asdict(known)))
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
