"""An API with converted image towers imports no torch: another process runs what needs it."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from app.datasets.demo_photos import make_demo_data
from dspt.backbones import load_backbone
from dspt.model.artifact import save_model
from dspt.model.predict import ImageClassifier
from tests.integration.conftest import zip_of
from tests.integration.stack import photos
from tests.services import RedisServer, clean_environment
from tests.unit.models import blend, model_for

_HEAVY = ["torch", "torchvision", "open_clip", "timm", "scipy", "sklearn", "transformers"]
_PROGRAM = f"""
import io, json, sys, zipfile
from pathlib import Path
from starlette.testclient import TestClient
from app.kit.settings import Settings
from app.main import create_app

folder = Path(sys.argv[1])
photos = [("images", (path.name, path.read_bytes())) for path in sorted(folder.glob("*.jpg"))]
settings = Settings(data_dir=folder / "data", no_auth=True, keep_features_days=1)
app = create_app(settings)
with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
    artifact = (folder / "model.safetensors").read_bytes()
    model = client.post("/models", files={{"artifact": ("model.safetensors", artifact)}}).json()
    for path in ("/models", model["links"]["self"], "/jobs", "/backbones", "/health/ready"):
        client.get(path).raise_for_status()
    found = client.post("/predict", data={{"model": model["id"]}}, files=photos)
    found.raise_for_status()
    engines = app.state.inference.backbones.engines
    # These need class embeddings from the text tower.
    zero_shot = client.post(
        "/predict", data={{"model": model["id"], "zero_shot": "true"}}, files=photos
    )
    added = client.post(model["links"]["self"] + "/classes", json={{"classes": {{"kite": None}}}})
    long = {{"kite": " ".join(["kite"] * 90)}}
    refused = client.post(model["links"]["self"] + "/classes", json={{"classes": long}})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        for number, (_, (name, data)) in enumerate(photos):
            opened.writestr(f"class {{number % 2}}/{{name}}", data)
    job = client.post("/jobs", files={{"dataset": ("a.zip", archive.getvalue())}}).json()
    wanted = {{"a": model["id"], "b": added.json()["id"], "dataset_id": job["dataset"]["id"]}}
    compared = client.post("/models/compare", json=wanted | {{"all": True}})
heavy = sorted(set({_HEAVY}) & sys.modules.keys())
print(json.dumps({{
    "found": found.json()["predictions"],
    "zero_shot": zero_shot.json()["predictions"],
    "added": [added.status_code, added.json().get("classes", [added.text])[-1]],
    "refused": [refused.status_code, refused.json()["code"]],
    "compared": compared.json().get("images", compared.text),
    "engines": engines,
    "heavy": heavy,
}}))
"""


@pytest.mark.slow
def test_the_api_classifies_adds_classes_and_compares_without_torch(
    tmp_path: Path, converted_towers: Path
) -> None:
    builtin = load_backbone("builtin")
    metrics = {"blend": {"zero_shot": 1.0, "prompt": 1.0, "class_means": 1.0}}
    model = dataclasses.replace(model_for(builtin, metrics=metrics), blend=blend())
    save_model(model, tmp_path / "model.safetensors")
    photos = [photo.jpeg for photo in make_demo_data(1).unseen]
    for number, photo in enumerate(photos):
        (tmp_path / f"{number:02}.jpg").write_bytes(photo)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "towers").symlink_to(converted_towers)
    ran = subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM, str(tmp_path)],
        env=clean_environment(PYTHONPATH=str(Path(__file__).parents[2])),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout.splitlines()[-1])
    assert result["heavy"] == []
    assert result["engines"] == {"builtin": "openvino"}
    images = [Image.open(io.BytesIO(photo)).convert("RGB") for photo in photos]
    expected = ImageClassifier(model, builtin).predict(images)
    for prediction, (top, *_) in zip(result["found"], expected, strict=True):
        assert prediction["label"] == top[0]
        assert prediction["score"] == pytest.approx(top[1], abs=1e-4)
    expected = ImageClassifier(model_for(builtin, served="zero_shot"), builtin).predict(images)
    for prediction, (top, *_) in zip(result["zero_shot"], expected, strict=True):
        assert prediction["zero_shot"][0]["label"] == top[0]
        assert prediction["zero_shot"][0]["score"] == pytest.approx(top[1], abs=1e-4)
    assert result["added"] == [201, "kite"]
    assert result["refused"] == [422, "invalid_class_words"]
    assert result["compared"] == len(photos)


_JOB = f"""
import json, subprocess, sys, time
from pathlib import Path
from starlette.testclient import TestClient
from app.kit.settings import Settings
from app.main import create_app

folder = Path(sys.argv[1])
app = create_app(Settings())
with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
    def get(path):
        response = client.get(path)
        assert response.status_code == 200, response.text
        return response
    archive = (folder / "photos.zip").read_bytes()
    files = {{"dataset": ("photos.zip", archive)}}
    job = client.post("/jobs", files=files, data={{"config": json.dumps({{"epochs": 1}})}}).json()
    worker = "from worker.cli import worker; worker(exit_when_idle=2)"
    subprocess.run([sys.executable, "-P", "-c", worker], check=True, stdout=sys.stderr)
    job = get(job["links"]["self"]).json()
    for link in ("events", "audit", "review", "predictions", "model", "artifact"):
        get(job["links"][link])
    get(f"/datasets/{{job['dataset']['id']}}/images/0?size=192")
    file = get(job["links"]["audit"]).json()["entries"][0]["file"]
    corrected = client.post(job["links"]["corrections"], json={{"drop": [file]}})
    refused = client.post(f"/models/{{job['model_id']}}/predict", content=b"x")
    get("/health/ready"), get("/metrics")
heavy = sorted(set({[*_HEAVY, "openvino"]}) & sys.modules.keys())
print(json.dumps({{
    "job": [job["status"], corrected.status_code, refused.json()["code"]], "heavy": heavy,
}}))
"""


@pytest.mark.deep  # its parts are in the test above, test_answers and test_roles
def test_the_role_api_has_no_torch_after_the_whole_path_of_a_job(
    tmp_path: Path, redis: RedisServer
) -> None:
    redis.emptied()  # it may belong to the installation of another test
    (tmp_path / "photos.zip").write_bytes(zip_of(photos()))
    ran = subprocess.run(
        [sys.executable, "-P", "-c", _JOB, str(tmp_path)],
        env=clean_environment(
            PYTHONPATH=str(Path(__file__).parents[2]),
            DSPT_DATA_DIR=str(tmp_path / "data"),
            DSPT_BROKER_URL=redis.url,
            DSPT_NO_AUTH="true",
            DSPT_ROLE="api",
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout.splitlines()[-1])
    assert result == {"job": ["succeeded", 202, "no_predict_url"], "heavy": []}
