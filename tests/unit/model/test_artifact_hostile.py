"""Hostile artefacts: each is rejected with a reason, or harmless."""

from __future__ import annotations

import dataclasses
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import CLASSES, blend, raw_manifest, tuned_model, write
from pydantic import ValidationError

from dspt.config import TuneConfig
from dspt.errors import ArtifactError
from dspt.model.artifact import load_model, save_model
from tests.depth import rounds

MIB = 1 << 20

quietly = settings(
    max_examples=rounds(30, 200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def reason(path: Path) -> str | None:
    """Why it is refused, fit to be shown; None if it is read."""
    try:
        load_model(path)
    except ArtifactError as error:
        message = error.message
    else:
        return None
    assert message.startswith(path.name + ": ")
    assert message.isprintable()
    assert len(message) < 500
    return message


def put(path: Path, header: bytes, body: bytes = b"", length: int | None = None) -> Path:
    size = len(header) if length is None else length
    path.write_bytes(struct.pack("<Q", size) + header + body)
    return path


# ---------------------------------------------------------------------------------- drawn at random


@quietly
@given(st.data())
def test_any_damage(path: Path, data: st.DataObject) -> None:
    model = dataclasses.replace(tuned_model(torch.ones(16, 4)), blend=blend(4))
    save_model(model, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    path.write_bytes(content)
    reason(path)


numbers = st.one_of(
    st.integers(-2, 20), st.sampled_from([-(2**63), 2**31, 2**32, 2**62, 2**63, 2**64, 10**30])
)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "I8", "F64", "BOOL", "F8_E4M3", "X", "f32", 3]),
        "shape": st.lists(numbers, max_size=5) | st.just("16"),
        "data_offsets": st.lists(numbers, min_size=1, max_size=3),
    }
)
names = st.sampled_from(
    ["context", "matrix", "bias", "class_means", "__metadata__", "", "../x", "a\x1b[2J"]
)


@quietly
@given(st.dictionaries(names, entries | st.none() | st.text(max_size=5), max_size=4), st.booleans())
def test_any_header(path: Path, header: dict[str, Any], with_manifest: bool) -> None:
    if with_manifest:
        header = header | {"__metadata__": {"manifest": json.dumps(raw_manifest())}}
    put(path, json.dumps(header).encode(), bytes(64))
    assert reason(path) is not None


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@quietly
@given(st.sampled_from(sorted(raw_manifest())), values)
def test_any_value_in_the_manifest(path: Path, field: str, value: object) -> None:
    write(path, {"context": torch.zeros(16, 8)}, raw_manifest(**{field: value}))
    if reason(path) is None:
        read = load_model(path)
        save_model(read, path)
        assert load_model(path).manifest == read.manifest


@quietly
@given(st.lists(st.text(max_size=12), min_size=10, max_size=10))
def test_names_that_are_taken_come_back(path: Path, classes: list[str]) -> None:
    try:
        model = tuned_model(torch.zeros(16, 2), classes=classes)
    except ValidationError:
        return
    save_model(model, path)
    assert load_model(path).manifest.classes == classes


# ------------------------------------------------------------------------------------- made by hand


@pytest.mark.parametrize("length", [0, 1, 10**6, 2**40, 2**63, 2**64 - 1])
def test_a_header_that_lies_about_its_length(path: Path, length: int) -> None:
    put(path, b'{"context":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}', length=length)
    assert "damaged or not a safetensors file" in str(reason(path))


def manifest_text(**changes: Any) -> str:
    return json.dumps(raw_manifest(**changes))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (manifest_text()[:-1] + ', "served": "zero_shot"}', "duplicate key 'served'"),
        (manifest_text(metrics={"a": [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}), "too deeply"),
        (manifest_text(metrics={"a": {"b": float("nan")}}), "not finite"),
        (manifest_text(metrics={"a": 1}).replace('"a": 1', '"a": 1e999'), "not finite"),
        (manifest_text(metrics={"a": 1}).replace('"a": 1', '"a": ' + "9" * 5000), "not plain JSON"),
        (manifest_text(metrics={"\x1b[2J": 1}), "control characters"),
        (manifest_text(metrics={"a": "\ud800"}), "control characters"),
        (manifest_text(why="a\u202eb"), "invisible characters"),
        (manifest_text(activation="ge\nlu"), "control characters"),
        (manifest_text(classes=[*CLASSES[:9], "c\u200bat"]), "invisible characters"),
        (manifest_text(class_words=[*CLASSES[:9], "\u202etac"]), "invisible characters"),
        (manifest_text(**{"x" * 1000: 1}), "Extra inputs are not permitted"),
    ],
    ids=lambda value: value[:10],
)
def test_a_hostile_manifest(path: Path, text: str, says: str) -> None:
    write(path, {"context": torch.zeros(16, 8)}, text)
    assert says in str(reason(path))


@pytest.mark.parametrize(
    "tensors",
    [
        {"context": torch.zeros(16, 0)},
        {"context": torch.zeros(16, 8), "matrix": torch.zeros(10, 0), "bias": torch.zeros(10)},
    ],
)
def test_tensors_with_nothing_in_them(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    write(path, tensors, raw_manifest())
    assert "shape" in str(reason(path))


# ------------------------------------------------------------------------------------------- memory

_READ = """
import json, sys
from pathlib import Path
from tests.hostile import memory
from dspt.model.artifact import load_model
from dspt.errors import ArtifactError

for path in sys.argv[1:]:
    before = memory.resident()
    memory.reset_peak()
    try:
        load_model(Path(path))
        said = "read"
    except ArtifactError as error:
        said = error.message
    print(json.dumps([memory.peak() - before, said]))
"""


def growth(*paths: Path) -> list[tuple[int, str]]:
    """For each file the bytes that reading takes at its peak, in another process, and the end."""
    done = subprocess.run(
        [sys.executable, "-c", _READ, *paths],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured there")
def test_memory_is_bounded_whatever_the_file_says(tmp_path: Path) -> None:
    entry = b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = b"{" + b",".join(entry % i for i in range(350_000)) + b"}"
    endless = put(tmp_path / "header.safetensors", header)

    # two megabytes of the smallest objects there are: 80 bytes in memory for each
    objects = tmp_path / "objects.safetensors"
    text = manifest_text(metrics={"a": 0}).replace('{"a": 0}', f"[{'[],' * 550_000}0]")
    write(objects, {"context": torch.zeros(16, 8)}, text)

    largest = tmp_path / "largest.safetensors"
    config = TuneConfig(n_ctx=16, ctx_init="random", class_specific_context=True).model_dump()
    write(largest, {"context": torch.zeros(10, 16, 100_000)}, raw_manifest(config=config))

    by_header, by_objects, by_tensors = growth(endless, objects, largest)
    assert "header is larger than 16 MiB" in by_header[1]
    assert by_header[0] < 8 * MIB
    assert "bad manifest: metrics" in by_objects[1]
    assert by_objects[0] < 64 * MIB
    assert by_tensors[1] == "read"
    # the file as the kernel has it, mapped, and a copy of its 61 MiB
    assert by_tensors[0] < 2 * 64 * MIB


# ------------------------------------------------------------------------------------------ writing


def test_what_could_not_be_read_again_is_not_written(path: Path) -> None:
    config = TuneConfig(n_ctx=16, ctx_init="random", class_specific_context=True)
    huge = torch.zeros(1).expand(10, 16, 500_000)
    cases = {
        "Turn class_specific_context off": tuned_model(huge, config=config),
        "15 context vectors, expected n_ctx": tuned_model(torch.zeros(15, 8)),
        "expected float32": tuned_model(torch.zeros(10, 16, 8)),
        "not finite": tuned_model(torch.full((16, 8), float("nan"))),
        "match 10 classes": dataclasses.replace(
            tuned_model(torch.zeros(16, 8)),
            blend=dataclasses.replace(blend(), bias=torch.zeros(9)),
        ),
    }
    for says, model in cases.items():
        with pytest.raises(ArtifactError, match=says) as caught:
            save_model(model, path)
        assert caught.value.message.startswith("model.safetensors: ")
    assert list(path.parent.iterdir()) == []


def test_names_of_too_many_classes_are_not_written(path: Path) -> None:
    names = [f"{i} " + "x" * 190 for i in range(45_000)]
    model = tuned_model(torch.zeros(16, 8), classes=names, class_words=names)
    with pytest.raises(ArtifactError, match=r"classifier of 45,000 classes .* shorter names"):
        save_model(model, path)
