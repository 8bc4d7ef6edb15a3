"""A classifier as one ONNX file: the same answers, without torch and without this package."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from models import CLASSES, WORDS, blend, model_for
from open_clip.model import CLIP
from open_clip.transform import PreprocessCfg
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file
from torch import nn
from towers import TINY_IMAGES, disturb
from typer.testing import CliRunner

import dspt.model.onnx
from dspt.backbones import load_backbone
from dspt.backbones.base import Backbone
from dspt.backbones.transforms import Preprocess
from dspt.cli import build
from dspt.config import TuneConfig
from dspt.data import decode_image
from dspt.errors import ArtifactError, ExportError
from dspt.model.artifact import TunedModel, save_model
from dspt.model.onnx import EXAMPLE, export_onnx
from dspt.model.onnx.check import Comparison
from dspt.model.onnx.preprocessing import preprocessing
from dspt.model.predict import ImageClassifier

PIXELS: dict[str, Any] = {
    "size": 32,
    "mean": (0.4, 0.5, 0.6),
    "std": (0.2, 0.3, 0.4),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def photo(height: int, width: int, seed: int = 1) -> Image.Image:
    """Noise, the hardest to resize alike."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small open_clip model with random weights and 32 x 32 pixels, with penultimate features."""
    torch.manual_seed(5)
    text = {"width": 32, "heads": 2, "layers": 1}
    cfg = {"embed_dim": 16, "vision_cfg": TINY_IMAGES, "text_cfg": text}
    model = CLIP(**cfg)
    disturb(model)
    folder = tmp_path_factory.mktemp("tiny")
    config = {"model_cfg": cfg, "preprocess_cfg": {k: v for k, v in PIXELS.items() if k != "size"}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Backbone:
    return load_backbone(f"local-dir:{folder}")


@pytest.fixture(scope="module")
def model(backbone: Backbone) -> TunedModel:
    classes = [*CLASSES[:9], 'a "quoted" ß']
    config = TuneConfig(backbone=backbone.name, n_ctx=4)
    made = model_for(backbone, classes=classes, config=config)
    return dataclasses.replace(made, blend=blend(backbone.feature_dim))


@pytest.fixture(scope="module")
def exported(
    backbone: Backbone, model: TunedModel, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Comparison]:
    file = tmp_path_factory.mktemp("onnx") / "not there yet" / "predictor.onnx"
    return file, export_onnx(model, backbone, file, [photo(50, 70)])


def run(file: Path, *images: Image.Image) -> Any:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    batch = np.stack([np.asarray(image) for image in images])
    return session.run(["probabilities"], {"images": batch})[0]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 31), (75, 40), (33, 500), (32, 35)])
def test_the_answers_are_those_of_torch_for_any_size(
    exported: tuple[Path, Comparison],
    backbone: Backbone,
    model: TunedModel,
    height: int,
    width: int,
) -> None:
    image = photo(height, width)
    [found] = run(exported[0], image)
    [expected] = ImageClassifier(model, backbone).predict([image], 10)
    assert dict(zip(model.manifest.classes, found, strict=True)) == pytest.approx(
        dict(expected), abs=1e-2
    )
    assert model.manifest.classes[found.argmax()] == expected[0][0]


def test_images_of_one_size_may_come_together(exported: tuple[Path, Comparison]) -> None:
    images = [photo(40, 60, seed) for seed in range(3)]
    together = run(exported[0], *images)
    assert together.shape == (3, 10)
    for image, row in zip(images, together, strict=True):
        np.testing.assert_allclose(run(exported[0], image)[0], row, atol=1e-5)
    np.testing.assert_allclose(together.sum(1), 1, atol=1e-5)


def test_the_comparison_is_reported(exported: tuple[Path, Comparison]) -> None:
    _, told = exported
    assert (told.made_up, told.given, told.images) == (5, 1, 6)
    assert told.top1_equal + told.undecided == 6
    assert told.max_difference < 1e-2
    assert "5 generated and 1 given images: same class for" in str(told)


def test_the_file_says_what_it_is_and_stands_alone(
    exported: tuple[Path, Comparison], model: TunedModel
) -> None:
    file, _ = exported
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    graph = onnx.load(file)
    onnx.checker.check_model(graph, full_check=True)
    said = {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(said["classes"]) == model.manifest.classes
    assert json.loads(said["class_words"]) == WORDS
    assert said["backbone_digest"] == model.manifest.backbone_digest
    assert graph.doc_string == EXAMPLE
    assert b".py" not in file.read_bytes()  # nothing of where it was made


def example_answers(file: Path, images: list[Path], tmp_path: Path) -> list[tuple[str, float]]:
    """Label and probability of each image by the example program, without torch and dspt."""
    program = tmp_path / "example.py"
    program.write_text(f'{EXAMPLE}\nassert not {{"torch", "dspt"}} & set(sys.modules)\n')
    command = [sys.executable, "-I", str(program), str(file), *map(str, images)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    answers = []
    for line, image in zip(said, images, strict=True):
        label, score = line.removeprefix(f"{image} ").rsplit(" ", 1)
        answers.append((label, float(score)))
    return answers


def difficult_photos(folder: Path) -> list[Path]:
    """48 cut-outs on a transparent ground, two turned photos, and two of 10 bits per sample."""
    files = []
    for i in range(48):
        pixels = np.asarray(photo(50, 70, i)).astype(np.uint32)
        pixels = pixels * 2 // 5 + np.array([i * 37 % 150, i * 59 % 150, i * 83 % 150], np.uint32)
        alpha = np.zeros((50, 70), np.uint8)
        alpha[10:40, 15 : 30 + i % 30] = 255
        alpha[20:25] //= 2
        pixels[alpha == 0] = i % 2 * 90  # hidden below the transparency
        rgba = np.dstack([pixels.astype(np.uint8), alpha])
        files.append(folder / f"{i}.png")
        Image.fromarray(rgba).save(files[-1])
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, size in (("turned.jpg", (40, 80)), ("large.jpg", (1300, 1700))):
        files.append(folder / name)
        photo(*size).save(files[-1], exif=exif)
    files.append(folder / "ten bits.png")
    deep = np.asarray(photo(50, 70).convert("L"), np.uint16) * 4
    Image.fromarray(deep).save(files[-1])
    files.append(folder / "ten bits, dark.png")
    stated = PngInfo()
    stated.add(b"sBIT", b"\x0a")
    Image.fromarray(deep // 5).save(files[-1], pnginfo=stated)
    return files


def test_library_shell_and_example_give_the_same_answers(
    exported: tuple[Path, Comparison],
    backbone: Backbone,
    folder: Path,
    model: TunedModel,
    tmp_path: Path,
) -> None:
    files = difficult_photos(tmp_path)
    save_model(model, tmp_path / "model.safetensors")
    images = [decode_image(file.read_bytes(), side=backbone.read_side) for file in files]
    by_library = [top for top, *_ in ImageClassifier(model, backbone).predict(images, 1)]
    shell = CliRunner().invoke(
        build(),
        ["predict", str(tmp_path / "model.safetensors"), *map(str, files), "--json"],
    )
    assert shell.exit_code == 0, shell.output
    by_shell = [(p["label"], p["score"]) for p in json.loads(shell.stdout)["predictions"]]
    by_example = example_answers(exported[0], files, tmp_path)
    for answers in (by_shell, by_example):
        assert [label for label, _ in answers] == [label for label, _ in by_library]
        assert [p for _, p in answers] == pytest.approx([p for _, p in by_library], abs=1e-2)
    assert len({label for label, _ in by_library}) > 1


@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_preprocessing_is_pillows(mode: str, interpolation: str) -> None:
    cfg = PIXELS | {"resize_mode": mode, "interpolation": interpolation}
    graph = preprocessing(PreprocessCfg(**cfg), ir=10, opset=18).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    step = 1 / 255 / np.array(PIXELS["std"])[:, None, None]
    # Odd and even margins around the crop, larger and smaller photos than what is wanted.
    for height, width in [(40, 41), (41, 43), (45, 41), (400, 611), (9, 13), (32, 32), (32, 39)]:
        image = photo(height, width)
        [[found]] = session.run(None, {"images": np.asarray(image)[None]})
        steps = np.abs(found - Preprocess(cfg)(image).numpy()) / step
        assert steps.max() < 2.01, (height, width)
        assert (steps < 0.01).mean() > 0.98, (height, width)


def test_a_file_that_differs_is_not_left(
    exported: tuple[Path, Comparison],
    backbone: Backbone,
    model: TunedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = onnx.load(exported[0])
    monkeypatch.setattr("dspt.model.onnx.export._graph", lambda linear, backbone: graph)
    other = Preprocess(PIXELS | {"mean": (0.6, 0.3, 0.1)})
    file = tmp_path / "predictor.onnx"
    file.write_bytes(b"the one before")
    with pytest.raises(ExportError, match="gives different answers: ONNX Runtime and torch on 5"):
        export_onnx(model, dataclasses.replace(backbone, preprocess=other), file)
    assert file.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_a_graph_is_refused(
    backbone: Backbone, model: TunedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(reason: str, **changes: Any) -> None:
        with pytest.raises(ExportError, match=reason):
            export_onnx(model, dataclasses.replace(backbone, **changes), tmp_path / "a.onnx")

    class Huge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(2**30, device="meta"))

    refused("takes 4.0 GiB, but an ONNX file holds at most 2 GiB", image_tower=Huge())

    class Stubborn(nn.Linear):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = super().forward(pixels.flatten(1))
            return features if float(features.sum()) > 0 else -features

    stubborn = Stubborn(3 * 32 * 32, 16)
    refused(
        "torch cannot export the tower of local-dir.*: .*data-dependent",
        image_tower=stubborn,
    )
    longest = Preprocess(PIXELS | {"resize_mode": "longest"})  # said before the tower is tried
    refused("resize_mode 'longest', 32 x 32", preprocess=longest, image_tower=stubborn)
    with pytest.raises(ArtifactError):
        export_onnx(dataclasses.replace(model, blend=blend(7)), backbone, tmp_path / "a.onnx")
    monkeypatch.setattr(dspt.model.onnx, "_NEEDED", ("onnx", "no_such_package"))
    refused("ONNX export needs more packages: pip install no_such_package")
    assert not list(tmp_path.iterdir())


def test_from_the_shell(backbone: Backbone, tmp_path: Path) -> None:
    """A classifier that is no blend, and whose probabilities are calibrated."""
    artifact, target, check = (tmp_path / name for name in ("a.safetensors", "a.onnx", "a.png"))
    config = TuneConfig(backbone=backbone.name, n_ctx=4)
    model = model_for(backbone, config=config, served="zero_shot", temperatures={"zero_shot": 30.0})
    save_model(model, artifact)
    image = photo(40, 50)
    image.save(check)
    command = ["export", str(artifact), "--out", str(target), "--check", str(check), "--json"]
    done = CliRunner().invoke(build(), command)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["file"], said["bytes"]) == (str(target), target.stat().st_size)
    assert said["compared"]["given"] == 1
    expected = ImageClassifier(model, backbone).predict([image], 10)[0]
    assert expected[0][1] < 0.2  # as it is with such a temperature alone
    found = dict(zip(CLASSES, run(target, image)[0], strict=True))
    assert found == pytest.approx(dict(expected), abs=1e-2)

    check.write_bytes(b"no photo")
    done = CliRunner().invoke(build(), command)
    assert done.exit_code == 2
    assert str(check) in "".join(done.stderr.split("\n"))
