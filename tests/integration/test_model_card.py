"""GET /models/{id}/card, from Python and from the shell; `dspt models export`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from dspt_client import Client

from app.kit.context import Context
from app.kit.settings import Settings
from app.models.artifacts import row_of
from dspt.model.artifact import save_model
from dspt.report.card import ModelCard, curves_svg, to_markdown
from tests.commands import invoke
from tests.integration.jobs import add_job, claim, make_model, problem
from tests.integration.own_api import running
from tests.unit.models import CLASSES, tuned_model

HISTORY = [{"epoch": n, "loss": 1 / n, "train_accuracy": 0.5, "suppressed": 0.1} for n in (1, 2, 3)]
PART = {
    "images": 20,
    "accuracy": 0.6,
    "accuracy_interval": [0.5, 0.7],
    "per_class": dict.fromkeys(CLASSES, 0.6),
    "calibration_error": 0.05,
}
METRICS = {"tuned": PART, "zero_shot": PART, "measured_on": "test", "history": HISTORY}
REPORT = {
    "images": 40,
    "classes": CLASSES,
    "split": {"train": 20, "val": 0, "test": 20},
    "rejected": [{"file": "a|b.jpg", "reason": "is no image"}],
}

HEALTH = {
    "usable": True,
    "summary": "40 images of 10 classes.",
    "images": 40,
    "photos": 40,
    "left_out": 1,
    "split": {"train": 20, "val": 0, "test": 20},
    "n_classes": 1,
    "classes": [
        {"name": "[mugs]", "words": "mugs", "train": 20, "val": 0, "test": 20, "photos": 19}
    ],
    "findings": [
        {
            "kind": "unreadable",
            "severity": "warning",
            "title": "unreadable files",
            "text": "1 file is left out: a|b.jpg: is no image",
            "fix": "Replace it.",
            "count": 1,
            "files": [{"file": "a|b.jpg", "note": "is no image"}],
            "classes": [],
        }
    ],
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Context]]:
    with running(Settings(data_dir=tmp_path_factory.mktemp("card"))) as started:
        yield started


@pytest.fixture(scope="module")
def context(api: tuple[str, Context]) -> Context:
    return api[1]


@pytest.fixture
def http(api: tuple[str, Context]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api[0]) as client:
        yield client


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tuned on a backbone that cannot be loaded."""
    file = tmp_path_factory.mktemp("artifact") / "mine.safetensors"
    model = tuned_model()
    config = model.manifest.config.model_copy(update={"backbone": "ViT-B-32-quickgelu/laion2b_e16"})
    manifest = model.manifest.model_copy(update={"config": config})
    save_model(type(model)(model.context, manifest), file)
    return file


@pytest.fixture(scope="module")
def tuned(context: Context, artifact: Path) -> str:
    """A model that a job has made."""
    job_id = add_job(context)
    lease = claim(context, job_id)
    lease.start_running(REPORT)
    data, manifest = artifact.read_bytes(), tuned_model().manifest
    model = row_of(manifest, data, owner="local", name="mugs | hats", metrics=METRICS)
    model.job_id, model_id = job_id, model.id
    context.storage.put_bytes(model.storage_key, data)
    lease.succeed(model, config={}, metrics=METRICS, audit_key="audits/a.json", health=HEALTH)
    return model_id


def dspt(api: tuple[str, Context], *arguments: str | Path, ends: int = 0) -> Any:
    command = ["models", *arguments, "--url", api[0]]
    done = invoke(command)
    assert done.exit_code == ends, done.output
    return done


def test_the_card_of_a_model_that_a_job_has_made(http: httpx.Client, tuned: str) -> None:
    response = http.get(f"/models/{tuned}/card")
    assert response.status_code == 200, response.text
    card = response.json()
    assert (card["source"], card["model_id"], card["name"]) == ("job", tuned, "mugs | hats")
    assert card["job"]["data"]["rejected"] == REPORT["rejected"]
    assert (card["job"]["data"]["images"], card["job"]["data"]["filename"]) == (40, "a.zip")
    assert [epoch["epoch"] for epoch in card["epochs"]] == [1, 2, 3]
    assert card["results"][0]["accuracy"] == 0.6
    assert "Their labels were assumed to be correct" in " ".join(card["limits"])
    assert card["artifact_sha256"] == http.get(f"/models/{tuned}").json()["sha256"]


def test_the_health_report_by_client_and_command(
    api: tuple[str, Context], http: httpx.Client, tuned: str
) -> None:
    job = http.get(http.get(f"/models/{tuned}").json()["links"]["job"]).json()
    with Client(api[0]) as client:
        report = client.datasets.health(job["dataset"]["id"])
    assert (report.job_id, report.findings[0].files[0].file) == (job["id"], "a|b.jpg")
    command = ["datasets", "health", report.dataset_id, "--url", api[0]]
    shown = invoke([*command, "--files"])
    assert shown.exit_code == 0, shown.output
    for text in ("[mugs]", "warning: unreadable files", "a|b.jpg  (is no image)", "Fix: Replace"):
        assert text in shown.stdout
    as_json = invoke([*command, "--json"])
    assert json.loads(as_json.stdout) == report.model_dump(mode="json")


def test_the_card_as_a_text_and_its_curves(http: httpx.Client, tuned: str) -> None:
    url = f"/models/{tuned}/card"
    card = ModelCard.model_validate(http.get(url).json())
    text = http.get(url, params={"format": "markdown"})
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert text.headers["content-disposition"] == f'attachment; filename="{tuned}.md"'
    assert text.text == to_markdown(card)
    assert r"| a\|b.jpg | is no image |" in text.text
    assert "## Health of the data\n\n40 images of 10 classes.\n" in text.text
    assert "- **Warning: unreadable files.** 1 file is left out: " in text.text
    assert r"a\|b.jpg: is no image. Replace it." in text.text
    curves = http.get(url, params={"format": "svg"})
    assert curves.headers["content-type"] == "image/svg+xml"
    assert curves.text == curves_svg(card.epochs)
    problem(http.get(url, params={"format": "pdf"}), 422, "invalid_request")


def test_an_imported_model_has_a_card_of_its_file(http: httpx.Client, artifact: Path) -> None:
    imported = http.post("/models", files={"artifact": ("mine.safetensors", artifact.read_bytes())})
    assert imported.status_code == 201, imported.text
    model = imported.json()
    url = model["links"]["self"] + "/card"
    card = http.get(url).json()
    assert (card["source"], card["job"], card["name"]) == ("manifest", None, "mine")
    assert "from the classifier's file only" in card["limits"][0]
    problem(http.get(url, params={"format": "svg"}), 404, "no_curves")


def test_a_card_needs_the_file(http: httpx.Client, context: Context) -> None:
    problem(http.get(f"/models/mdl_{'0' * 26}/card"), 404, "model_not_found")
    model = make_model("")
    model.job_id, model_id, key = None, model.id, model.storage_key
    with context.database.write() as session:
        session.add(model)
    problem(http.get(f"/models/{model_id}/card"), 404, "artifact_not_found")
    context.storage.put_bytes(key, b"damaged")
    problem(http.get(f"/models/{model_id}/card"), 409, "invalid_artifact")


def test_from_python_and_from_the_shell(
    api: tuple[str, Context], tuned: str, tmp_path: Path
) -> None:
    with Client(api[0]) as client:
        card = ModelCard.model_validate(client.models.card(tuned))
    assert dspt(api, "card", tuned).stdout == to_markdown(card)
    assert json.loads(dspt(api, "card", tuned, "--json").stdout) == card.model_dump(mode="json")
    target = tmp_path / "card.md"
    dspt(api, "card", tuned, "--out", target)
    assert "](card.svg)" in target.read_text("utf-8")
    assert target.with_suffix(".svg").read_text("utf-8") == curves_svg(card.epochs)
    assert "There is no model" in dspt(api, "card", f"mdl_{'0' * 26}", ends=1).stderr


def test_export_is_a_download_or_made_here(
    api: tuple[str, Context], tuned: str, artifact: Path, tmp_path: Path
) -> None:
    target = tmp_path / "model.safetensors"
    said = json.loads(dspt(api, "export", tuned, "--out", target, "--json").stdout)
    assert said == {"model": tuned, "file": str(target), "bytes": artifact.stat().st_size}
    assert target.read_bytes() == artifact.read_bytes()
    predictor = tmp_path / "predictor.onnx"
    refused = dspt(api, "export", tuned, "--onnx", predictor, ends=2)
    assert "laion2b_e16 were trained with GELU" in refused.stderr
    assert not predictor.exists()
