"""Encoding and one cell, with a small text tower in place of a real backbone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noise_sets import write_class_folders
from safetensors.torch import load_file

from benchmarks.noise_robustness import methods
from benchmarks.noise_robustness.__main__ import BENCHMARK
from benchmarks.noise_robustness.baselines import BASELINES
from benchmarks.noise_robustness.classes import draw_classes
from benchmarks.noise_robustness.datasets import Listing, open_set
from benchmarks.noise_robustness.encode import EncodedSet, encode_set
from benchmarks.noise_robustness.grid import Job, cell_key, make_job, make_record
from benchmarks.noise_robustness.methods import Bench
from benchmarks.noise_robustness.run import CellRunner
from benchmarks.noise_robustness.settings import (
    METHODS,
    UNLABELLED,
    Cell,
    Noise,
    Settings,
    settings_of,
)
from benchmarks.skeleton.records import Records
from dspt.backbones import Backbone
from dspt.data import few_shot, load_dataset
from dspt.errors import ConfigError
from dspt.features.encode import encode_images
from dspt.features.store import FeatureStore
from dspt.pipeline import tune

CPU = torch.device("cpu")


def settings(*arguments: str) -> Settings:
    quick = ["--epochs", "3", "--default-config", '{"epochs": 3, "precision": "float32"}']
    quick += ["--logistic-c", "3"]  # test_robustness_methods chooses it
    shots = [] if "--shots" in arguments else ["--shots", "4"]
    given = ["--data", "a", *quick, *shots, *arguments, "--precision", "float32"]
    return settings_of(BENCHMARK.parser().parse_args([*given, "--device", "cpu"]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_class_folders(tmp_path / "photos")


@pytest.fixture
def listing(folder: Path) -> Listing:
    return open_set(folder)


def encode(listing: Listing, backbone: Backbone, file: Path, **change: Any) -> EncodedSet:
    own = settings("--seeds", "1")
    if views := change.pop("augment_views", 0):
        own = replace(own, recipe=replace(own.recipe, augment_views=views))
    if change.pop("all_images", False):
        own = replace(own, methods=(*own.methods, UNLABELLED))
    store = change.pop("store", None)
    return encode_set(listing, replace(own, **change), backbone, file, store)


@pytest.fixture
def data(listing: Listing, tiny: Backbone, tmp_path: Path) -> EncodedSet:
    return encode(listing, tiny, tmp_path / "f.safetensors")


def test_only_what_is_drawn_is_encoded_and_found_at_its_place(
    listing: Listing, tiny: Backbone, tmp_path: Path
) -> None:
    views = 2
    encoded = encode(listing, tiny, tmp_path / "f", shots=(1, 4), seeds=(1, 2), augment_views=views)
    features = load_file(encoded.file)
    labels = listing.labels(listing.rows("train"))
    drawn = {key: few_shot(labels, *key) for key in [(1, 1), (1, 2), (4, 1), (4, 2)]}
    assert encoded.samples.keys() == drawn.keys()
    assert len(encoded.files) == len(set(np.concatenate(list(drawn.values())))) < 24
    assert features["train"].shape == (len(encoded.files), 1 + views, 16)
    assert features["test"].shape == (encoded.n_test, 16) == (12, 16)
    for key, rows in drawn.items():
        at = encoded.samples[key]
        assert [encoded.files[i] for i in at] == [listing.items[row].path for row in rows]
        assert encoded.labels[at].tolist() == labels[rows].tolist()
        alone = encode_images(tiny, listing.read(rows), augment_views=views)
        torch.testing.assert_close(features["train"][at], alone)
    assert features["test_labels"].tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_features_are_taken_from_the_store(
    listing: Listing, tiny: Backbone, tmp_path: Path
) -> None:
    store = FeatureStore(tmp_path / "store")
    first = encode(listing, tiny, tmp_path / "a", store=store)

    def never(pixels: object) -> torch.Tensor:
        raise AssertionError("encoded again")

    blind = replace(tiny, image_tower=torch.nn.Linear(1, 1).requires_grad_(False))
    blind.image_tower.forward = never  # type: ignore[method-assign]
    again = encode(listing, blind, tmp_path / "b", store=store)
    assert load_file(first.file)["train"].equal(load_file(again.file)["train"])


def test_the_digest_of_a_set_does_not_depend_on_what_is_drawn(
    listing: Listing, tiny: Backbone, tmp_path: Path, folder: Path
) -> None:
    one = encode(listing, tiny, tmp_path / "a")
    more = encode(listing, tiny, tmp_path / "b", seeds=(1, 2, 3), shots=(4, 8))
    assert one.sha256 == more.sha256
    (folder / "test" / "red_fox" / "0.png").write_bytes(
        (folder / "test" / "red_fox" / "1.png").read_bytes()
    )
    assert encode(open_set(folder), tiny, tmp_path / "c").sha256 != one.sha256


@pytest.fixture
def runner(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> CellRunner:
    monkeypatch.setattr(methods, "load_backbone", lambda name, device: tiny)
    return CellRunner(settings())


def noisy(data: EncodedSet, rate: float = 0.25) -> Job:
    cell = Cell("photos", 4, Noise("symmetric", "global", rate), 1)
    return make_job(cell, {"photos": data}, None)


@pytest.fixture(scope="module", autouse=True)
def few_epochs() -> Iterator[None]:
    """Baselines run a tenth of their epochs; test_robustness_baselines has what they learn."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("fitting", "lp_plus"):
            patch.setattr(f"benchmarks.noise_robustness.baselines.{module}.EPOCHS", 30)
        yield


@pytest.fixture(scope="module")
def measured(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Any]:
    """A noisy cell, and all that was measured in it."""
    folder = tmp_path_factory.mktemp("measured")
    data = encode(open_set(write_class_folders(folder / "photos")), tiny, folder / "features")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods, "load_backbone", lambda name, device: tiny)
        return noisy(data), CellRunner(settings())(noisy(data))


def test_a_cell_measures_every_method_on_the_clean_test_images(
    measured: tuple[Job, Any],
) -> None:
    _, found = measured
    assert json.loads(json.dumps(found)) == found
    assert tuple(found["methods"]) == tuple(name for name in METHODS if name != UNLABELLED)
    for method in found["methods"].values():
        assert method["accuracy"] == 100 * method["correct"] / 12
    assert found["methods"]["logistic_cleanlab"]["correct"] >= 8  # colours are easy to tell
    assert found["methods"]["default"]["served"] in ("tuned", "zero_shot")
    assert set(found["seconds"]) == {"losses", "default", "logistic", *BASELINES}


def test_unlabelled_photos_are_the_images_that_are_not_drawn(
    listing: Listing, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(listing, tiny, tmp_path / "all", all_images=True)
    monkeypatch.setattr(methods, "load_backbone", lambda name, device: tiny)
    chosen = settings("--methods", "default_unlabelled")
    job, bench = noisy(data), Bench(chosen)
    photos = bench.unlabelled(job)
    assert len(photos) == len(data.files) - len(job.positions) == 12
    drawn = bench.features["train"][job.positions, 0]
    assert not (photos[:, None] == drawn).all(2).any()
    found = CellRunner(chosen)(job)["methods"]
    assert list(found) == ["default", "default_unlabelled"]
    without = CellRunner(settings("--methods", "default"))(job)["methods"]
    assert found["default"]["correct"] == without["default"]["correct"]
    # Where all images are drawn, there is nothing to add.
    whole = replace(job, positions=np.arange(24), given=data.labels, true=data.labels)
    assert len(bench.unlabelled(whole)) == 0
    same = CellRunner(chosen)(whole)["methods"]
    assert same["default"]["correct"] == same["default_unlabelled"]["correct"]


def test_classes_are_drawn_from_all_data_sets(
    listing: Listing, tiny: Backbone, tmp_path: Path
) -> None:
    other = write_class_folders(tmp_path / "other", train=4, test=2)
    words = ("car", "ship", "plane")
    sets = [listing, replace(open_set(other), class_words=words)]
    whole = draw_classes(sets, 6)
    assert sorted(whole.class_words) == sorted([*listing.class_words, *words])
    few = draw_classes(sets, 4)
    assert few.classes == whole.classes[:4]
    assert few.name == "4-classes"
    for name, word in zip(few.classes, few.class_words, strict=True):
        source, _, own = name.partition("/")
        assert (word in words) == (source == "other")
        label = few.classes.index(name)
        files = {item.path for item in few.items if item.label == label}
        assert {Path(file).parts[:3:2] for file in files} == {(source, own)}
        assert len(files) == (6 if source == "other" else 12)
    encoded = encode(few, tiny, tmp_path / "few", shots=(2, 4))
    assert encoded.n_test == sum(item.split == "test" for item in few.items)
    for shots in (2, 4):
        drawn = encoded.samples[shots, 1]
        assert np.bincount(encoded.labels[drawn]).tolist() == [shots] * 4
    features = load_file(encoded.file)
    for file, row in zip(encoded.files, features["train"], strict=True):
        data = sets[file.startswith("other/")]
        at = [item.path for item in data.items].index(file.partition("/")[2])
        torch.testing.assert_close(row, encode_images(tiny, data.read(np.array([at])))[0])
    for count, at_fault in ((7, sets), (2, [listing, listing])):
        message = "the data sets have 6 classes" if count == 7 else "more than one data set has"
        with pytest.raises(ConfigError, match=f"--classes.*{message}"):
            draw_classes(at_fault, count)


def test_no_method_sees_the_true_labels_or_what_was_run_before(
    measured: tuple[Job, Any], runner: CellRunner, tiny: Backbone, tmp_path: Path
) -> None:
    job, found = measured
    other = write_class_folders(tmp_path / "other", train=4, test=2)
    words = ("car", "ship", "plane")
    elsewhere = encode(replace(open_set(other), class_words=words), tiny, tmp_path / "o")
    assert runner(noisy(elsewhere))["methods"] != found["methods"]
    true_is_another = replace(job, true=np.zeros_like(job.true))
    assert runner(true_is_another)["methods"] == found["methods"]


def test_the_default_is_what_the_service_does(
    data: EncodedSet, folder: Path, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "load_backbone", lambda name, device: tiny)
    cell = Cell("photos", 4, Noise("clean"), 1)
    runner = CellRunner(settings("--methods", "zero_shot", "default"))
    found = runner(make_job(cell, {"photos": data}, None))["methods"]
    config = settings().tune_config(1).model_copy(update={"shots": 4, "device": "cpu"})
    with load_dataset(folder) as dataset:
        # the service audits all training images; here there are none but the few shots
        drawn = {data.files[at] for at in data.samples[4, 1]}
        kept = [
            at
            for at, item in enumerate(dataset.items)
            if item.split == "test" or item.path in drawn
        ]
        few = replace(
            dataset,
            items=tuple(dataset.items[at] for at in kept),
            hashes=tuple(dataset.hashes[at] for at in kept),
        )
        result = tune(few, config, backbone=tiny)
    assert found["default"]["why"] == result.metrics["why"]
    assert found["default"]["served"] == result.metrics["served"]
    served = result.metrics[result.metrics["served"]]["accuracy"]
    assert found["default"]["accuracy"] == pytest.approx(100 * served)
    assert found["zero_shot"]["accuracy"] == pytest.approx(
        100 * result.metrics["zero_shot"]["accuracy"]
    )


def test_a_record_holds_the_flip_map_by_file(data: EncodedSet, folder: Path) -> None:
    job = noisy(data)
    record = make_record(job, data, {"methods": {}})
    assert record["wrong_share"] == 0.25
    assert record["noise"]["name"] == "global-symmetric-25"
    classes = [data.listing.classes[label] for label in record["true"]]
    assert [Path(file).parts[1] for file in record["files"]] == classes
    assert sum(a != b for a, b in zip(record["given"], record["true"], strict=True)) == 3


def test_the_key_changes_with_all_that_decides_a_cell(data: EncodedSet, tmp_path: Path) -> None:
    job, own = noisy(data), settings()
    records = Records(tmp_path, {"backbone_digest": "b", "code": "c"})
    key = cell_key(records, job, data, own)
    same = settings("--seeds", "1", "5", "--shots", "4")
    assert key == cell_key(records, noisy(data), data, same)
    relabelled = job.given.copy()
    relabelled[0] = (relabelled[0] + 1) % 3
    changed = [
        cell_key(records, replace(job, given=relabelled), data, own),
        cell_key(records, replace(job, cell=replace(job.cell, seed=2)), data, own),
        cell_key(records, job, replace(data, test_sha256="x"), own),
        cell_key(
            records,
            job,
            replace(data, listing=replace(data.listing, class_words=("a", "b", "c"))),
            own,
        ),
        cell_key(records, job, replace(data, hashes=("x", *data.hashes[1:])), own),
        cell_key(records, job, data, replace(own, logistic_c=1.0)),
        cell_key(records, job, data, settings("--recipe", "coop")),
        cell_key(records, job, data, settings("--methods", "ce")),
        cell_key(records, job, data, replace(own, default_config={"epochs": 4})),
        cell_key(Records(tmp_path, {"backbone_digest": "x", "code": "c"}), job, data, own),
        cell_key(Records(tmp_path, {"backbone_digest": "b", "code": "x"}), job, data, own),
    ]
    assert len({key, *changed}) == 1 + len(changed)
