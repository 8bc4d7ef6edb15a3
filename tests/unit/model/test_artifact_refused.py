"""Artefacts that are refused: damaged, foreign, or contradicting themselves."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from models import CLASSES, WORDS, blend, raw_manifest, tuned_model, write
from safetensors.torch import save_file

from dspt.errors import ArtifactError
from dspt.model.artifact import load_model, save_model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def refused(path: Path, match: str) -> None:
    with pytest.raises(ArtifactError, match=match) as caught:
        load_model(path)
    assert caught.value.message.startswith(path.name + ": ")
    assert str(path.parent) not in caught.value.message


# --------------------------------------------------------------------------------- files refused


def test_a_missing_file(path: Path) -> None:
    refused(path, "No such file")


def test_a_folder(path: Path) -> None:
    path.mkdir()
    refused(path, "cannot be read|damaged")


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 8, b"PK\x03\x04" + bytes(100)])
def test_what_is_no_safetensors_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, "damaged or not a safetensors file")


@pytest.mark.parametrize("kept", [7, 8, 100, 1000, -1])
def test_a_truncated_file(path: Path, kept: int) -> None:
    save_model(tuned_model(), path)
    path.write_bytes(path.read_bytes()[:kept])
    refused(path, "damaged or not a safetensors file")


def test_a_file_with_something_behind_it(path: Path) -> None:
    save_model(tuned_model(), path)
    path.write_bytes(path.read_bytes() + b"more")
    refused(path, "damaged or not a safetensors file")


def test_a_huge_file_is_not_opened(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate((256 << 20) + 1)
    refused(path, "larger than 256 MiB")


def test_another_programs_safetensors(path: Path) -> None:
    save_file({"context": torch.zeros(16, 512)}, path)
    refused(path, "not a classifier tuned by dspt")
    save_file({"weight": torch.zeros(16, 512)}, path, metadata={"format": "pt"})
    refused(path, "not a classifier tuned by dspt")


@pytest.mark.parametrize("names", [["context", "extra"], ["weights"], []])
def test_other_tensors(path: Path, names: list[str]) -> None:
    write(path, {name: torch.zeros(16, 512) for name in names}, raw_manifest())
    refused(path, "not a classifier tuned by dspt")


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.uint8]
)
def test_another_precision(path: Path, dtype: torch.dtype) -> None:
    write(path, {"context": torch.zeros(16, 512, dtype=dtype)}, raw_manifest())
    refused(path, r"context is (F16|BF16|F64|I32|U8); expected F32")


@pytest.mark.parametrize("shape", [(), (512,), (1, 16, 512), (10, 16, 512)])
def test_another_shape(path: Path, shape: tuple[int, ...]) -> None:
    write(path, {"context": torch.zeros(shape)}, raw_manifest())
    refused(path, r"expected float32 \(M, W\)")


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((16, 512), r"expected float32 \(C, M, W\)"),
        ((9, 16, 512), "context for 9 classes, expected 10"),
        ((10, 15, 512), "15 context vectors, expected n_ctx = 16"),
    ],
)
def test_another_shape_of_a_class_specific_context(
    path: Path, shape: tuple[int, ...], match: str
) -> None:
    config = raw_manifest()["config"] | {"class_specific_context": True}
    write(path, {"context": torch.zeros(shape)}, raw_manifest(config=config))
    refused(path, match)


@pytest.mark.parametrize("length", [0, 1, 15, 17])
def test_another_number_of_context_vectors(path: Path, length: int) -> None:
    write(path, {"context": torch.zeros(length, 512)}, raw_manifest())
    refused(path, f"{length} context vectors, expected n_ctx = 16")


def test_a_config_that_does_not_say_how_many(path: Path) -> None:
    config = raw_manifest()["config"] | {"n_ctx": None}
    write(path, {"context": torch.zeros(16, 512)}, raw_manifest(config=config))
    refused(path, "16 context vectors, expected n_ctx = None")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite(path: Path, value: float) -> None:
    context = torch.zeros(16, 512)
    context[3, 7] = value
    write(path, {"context": context}, raw_manifest())
    refused(path, "not finite")


# --------------------------------------------------------------------------------- blends refused


@pytest.mark.parametrize("name", ["matrix", "bias"])
def test_half_a_blend(path: Path, name: str) -> None:
    other = {"matrix": "bias", "bias": "matrix"}[name]
    tensor = getattr(blend(), name)
    write(path, {"context": torch.zeros(16, 512), name: tensor}, raw_manifest())
    refused(path, f"has {name} but not {other}")


@pytest.mark.parametrize("missing", ["context", "matrix", "bias"])
def test_a_blend_beside_something_else(path: Path, missing: str) -> None:
    tensors = {"context": torch.zeros(16, 512), "matrix": blend().matrix, "bias": blend().bias}
    del tensors[missing]
    write(path, tensors | {"other": torch.zeros(1)}, raw_manifest())
    refused(path, "not a classifier tuned by dspt")


def test_a_blend_without_a_context(path: Path) -> None:
    write(path, {"matrix": blend().matrix, "bias": blend().bias}, raw_manifest())
    refused(path, "not a classifier tuned by dspt")


@pytest.mark.parametrize(
    ("matrix", "bias"),
    [
        ((9, 512), (9,)),
        ((10, 512), (9,)),
        ((11, 512), (10,)),
        ((10,), (10,)),
        ((1, 10, 512), (10,)),
        ((10, 512), (10, 1)),
        ((10, 512), ()),
        ((), (10,)),
    ],
)
def test_a_blend_of_another_shape(
    path: Path, matrix: tuple[int, ...], bias: tuple[int, ...]
) -> None:
    tensors = {"matrix": torch.zeros(matrix), "bias": torch.zeros(bias)}
    write(path, {"context": torch.zeros(16, 512), **tensors}, raw_manifest())
    shapes = f"matrix of shape {matrix} and bias of shape {bias} do not match 10 classes"
    refused(path, re.escape(shapes))


@pytest.mark.parametrize("name", ["matrix", "bias"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("half", [False, True])
def test_a_blend_that_is_not_finite(path: Path, name: str, value: float, half: bool) -> None:
    matrix = blend().matrix.half() if half else blend().matrix
    tensors = {"matrix": matrix, "bias": blend().bias}
    tensors[name].view(-1)[7] = value
    write(path, {"context": torch.zeros(16, 512), **tensors}, raw_manifest())
    refused(path, "matrix and bias must be finite float32")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("bias", torch.float16),
        *itertools.product(["matrix", "bias"], [torch.bfloat16, torch.float64, torch.int32]),
    ],
)
def test_a_blend_of_another_precision(path: Path, name: str, dtype: torch.dtype) -> None:
    tensors = {"matrix": blend().matrix, "bias": blend().bias}
    tensors[name] = tensors[name].to(dtype)
    write(path, {"context": torch.zeros(16, 512), **tensors}, raw_manifest())
    expected = {"matrix": "F16 or F32", "bias": "F32"}[name]
    refused(path, rf"{name} is (F16|BF16|F64|I32); expected {expected}$")


def test_class_means_of_another_precision(path: Path) -> None:
    write(
        path, {"context": torch.zeros(16, 512), "class_means": torch.eye(10, 512)}, raw_manifest()
    )
    refused(path, "class_means is F32; expected I8")


@pytest.mark.parametrize("shape", [(), (512,), (0, 512), (3, 0), (11, 512), (1, 10, 512)])
def test_class_means_of_another_shape(path: Path, shape: tuple[int, ...]) -> None:
    write(
        path,
        {"context": torch.zeros(16, 512), "class_means": torch.ones(shape).to(torch.int8)},
        raw_manifest(),
    )
    refused(path, re.escape(f"class means of shape {shape} do not match 10 classes"))


def test_a_class_mean_that_is_zero(path: Path) -> None:
    means = torch.eye(9, 512).to(torch.int8)
    means[3] = 0
    write(path, {"context": torch.zeros(16, 512), "class_means": means}, raw_manifest())
    refused(path, "a class mean is 0")


# ------------------------------------------------------------------------------- manifests refused


@pytest.mark.parametrize(
    ("manifest", "match"),
    [
        ("", "bad manifest: not plain JSON"),
        ("[]", "bad manifest"),
        ("{", "bad manifest: not plain JSON"),
        ("[" * 100_000, "bad manifest"),
        ({}, "bad manifest: classes: Field required"),
        (raw_manifest(format="dspt.classifier/6"), "format"),
        (raw_manifest(surprise=1), "surprise: Extra inputs are not permitted"),
        (raw_manifest(config={"surprise": 1}), r"config\.surprise"),
        (raw_manifest(config={"epochs": 0}), r"config\.epochs"),
        (raw_manifest(config={"classifier": "both"}), r"config\.classifier"),
        (raw_manifest(config={"device": "gpu"}), r"config\.device: must be `auto`, `cpu`"),
        (raw_manifest(served="both"), "served"),
        (raw_manifest(backbone_digest="AB" * 32), "backbone_digest"),
        (raw_manifest(backbone_digest="ab" * 31), "backbone_digest: must be 64 hexadecimal"),
        (raw_manifest(dataset_sha256=""), "dataset_sha256"),
        (raw_manifest(activation="x" * 51), "activation"),
        (raw_manifest(why="x" * 2001), "why"),
        (raw_manifest(metrics=[]), "metrics"),
        (raw_manifest(classes=CLASSES[:1], class_words=WORDS[:1]), "classes"),
        (raw_manifest(classes=[]), "classes"),
        (raw_manifest(classes=CLASSES[:9]), "classes and class_words differ in length"),
        (
            raw_manifest(classes=[*CLASSES[:9], CLASSES[0]]),
            "bad manifest: class names must be distinct",
        ),
        (raw_manifest(classes=[*CLASSES[:9], ""]), r"classes\.9"),
        (raw_manifest(classes=[*CLASSES[:9], 9]), r"classes\.9"),
        (raw_manifest(classes=[*CLASSES[:9], "x" * 501]), r"classes\.9"),
        (raw_manifest(class_words=[*WORDS[:9], "x" * 1_000_000]), r"class_words\.9"),
        (raw_manifest(classes=[*CLASSES[:9], "a\x1b[31mred"]), "control characters"),
        (raw_manifest(class_words=[*WORDS[:9], "a\nb"]), "control characters"),
        (raw_manifest(class_words=[*WORDS[:9], "a\x00b"]), "control characters"),
        (raw_manifest(class_words=[*WORDS[:9], "a\x9bb"]), "control characters"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_a_bad_manifest(path: Path, manifest: Any, match: str) -> None:
    write(path, {"context": torch.zeros(16, 512)}, manifest)
    refused(path, match)
    # untrusted text is not copied into logs
    with pytest.raises(ArtifactError) as caught:
        load_model(path)
    assert len(caught.value.message) < 300
    assert caught.value.message.isprintable()


def test_a_lone_surrogate_in_a_name(path: Path) -> None:
    text = json.dumps(raw_manifest(classes=[*CLASSES[:9], "REPLACE"]))
    write(path, {"context": torch.zeros(16, 512)}, text.replace("REPLACE", "\\ud800"))
    refused(path, "bad manifest")
