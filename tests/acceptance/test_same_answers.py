"""The same photos through service, client, both commands and the exported file: the same labels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from dspt_client import Client
from PIL import Image, ImageDraw

from dspt.model.onnx import EXAMPLE
from tests.acceptance.photos import COLOURS
from tests.acceptance.service import Json
from tests.commands import invoke


def cut_outs(folder: Path) -> list[Path]:
    """12 fruits cut out, with pixels below the transparency that would look like another fruit."""
    files, names = [], sorted(COLOURS)
    for number in range(12):
        colour, hidden = (COLOURS[names[(number + step) % 4]] for step in (0, 1 + number // 4 % 3))
        shape = Image.new("L", (60, 48))
        left, top = number % 7, number % 5
        ImageDraw.Draw(shape).ellipse((left, top, left + 40, top + 40), fill=255)
        noise = np.random.default_rng(number).normal(scale=20, size=(48, 60, 3))
        inside = np.asarray(shape)[..., None] > 0
        pixels = np.clip(np.where(inside, colour, hidden) + noise, 0, 255).astype(np.uint8)
        image = Image.fromarray(np.dstack([pixels, np.asarray(shape)]))
        files.append(folder / f"{number}.{'webp' if number % 3 == 2 else 'png'}")
        if number % 3 == 1:
            image = image.quantize(32)  # a palette with transparency
        image.save(files[-1], lossless=True)
    return files


def test_cut_outs_on_a_transparent_ground(
    service: httpx.Client, tuned: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = cut_outs(tmp_path)
    model, url = tuned["model_id"], str(service.base_url)
    monkeypatch.setenv("DSPT_URL", url)

    def command(*arguments: str | Path) -> Any:
        ran = invoke(arguments)
        assert ran.exit_code == 0, ran.output
        return ran

    sent = [("images", (file.name, file.read_bytes())) for file in files]
    answer = service.post("/predict", data={"model": model, "top_k": "1"}, files=sent).json()
    expected = [each["label"] for each in answer["predictions"]]
    assert len(set(expected)) > 1

    with Client(url) as client:
        answers = {"client": [each.label for each in client.predict(model, files).predictions]}
        saved = client.models.download(model, tmp_path / "model.safetensors")
    for name, classifier in (("command", model), ("command without a service", saved)):
        document = json.loads(command("predict", classifier, *files, "--json").stdout)
        answers[name] = [each["label"] for each in document["predictions"]]
    exported, program = tmp_path / "predictor.onnx", tmp_path / "example.py"
    command("export", saved, "--out", exported)
    program.write_text(EXAMPLE)
    lines = subprocess.run(
        [sys.executable, "-I", program, exported, *files],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    answers["ONNX"] = [line.split()[-2] for line in lines]
    assert answers == dict.fromkeys(answers, expected)
