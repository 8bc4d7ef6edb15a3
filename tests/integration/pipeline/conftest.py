"""Small real photographs, opened once, and one tuning on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dspt.backbones.base import Backbone
from dspt.backbones.builtin import load_builtin
from dspt.data import Dataset, load_dataset
from dspt.pipeline import TuneResult
from tests.integration.pipeline.runs import CLASSES, TEST, TRAIN, Recorder, Seen, images, run
from tests.photographs import write_photographs


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    return load_builtin()


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the photographs, kept between the tests."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(
        tmp_path_factory.mktemp("photos"), CLASSES, train=TRAIN, test=TEST, seed=2
    )


@pytest.fixture(scope="session")
def dataset(folder: Path) -> Iterator[Dataset]:
    with load_dataset(folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dataset]:
    """Three photographs of two classes each, for tests that encode them anew."""
    folder = tmp_path_factory.mktemp("few")
    with load_dataset(write_photographs(folder, CLASSES[:2], train=2, test=1, seed=2)) as opened:
        yield opened


@pytest.fixture(scope="session")
def seen(dataset: Dataset, backbone: Backbone) -> Seen:
    """The test photographs as models that are served see them."""
    photos, truth = images(dataset, "test")
    crops = torch.stack([backbone.preprocess.crop(photo) for photo in photos])
    return Seen(backbone.encode_crops(crops), truth)


@pytest.fixture(scope="session")
def tuned(
    dataset: Dataset, backbone: Backbone, features: Path
) -> tuple[TuneResult, Recorder, float]:
    """A short tuning with the other defaults, its reports, and its duration in seconds."""
    recorder = Recorder()
    start = time.monotonic()
    result = run(dataset, backbone, features, listener=recorder)
    return result, recorder, time.monotonic() - start
