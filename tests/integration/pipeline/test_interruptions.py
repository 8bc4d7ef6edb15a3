"""The whole job cancelled, broken off and resumed, short of disk, or wrongly set."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from dspt.backbones.base import Backbone
from dspt.config import TuneConfig
from dspt.data import Dataset, load_dataset
from dspt.errors import Cancelled, ConfigError, PromptTooLong, UnknownBackbone
from dspt.pipeline import Progress, TuneResult, tune
from tests.integration.pipeline.runs import (
    EPOCHS,
    SETTINGS,
    Recorder,
    run,
    same_blend,
)


@pytest.mark.parametrize("stage", ["encoding", "tuning", "evaluating"])
def test_cancelling_stops_in_the_stage_that_it_is_in(
    dataset: Dataset, backbone: Backbone, features: Path, tmp_path: Path, stage: str
) -> None:
    stop = threading.Event()

    class Stopping(Recorder):
        def progress(self, progress: Progress) -> None:
            super().progress(progress)
            if progress.stage == stage and (stage != "tuning" or progress.epoch == 2):
                stop.set()

    listener = Stopping()
    said = "fitting the classifier" if stage == "evaluating" else stage
    with pytest.raises(Cancelled, match=said):
        tune(
            dataset,
            TuneConfig(**SETTINGS),
            listener=listener,
            should_stop=stop.is_set,
            feature_dir=tmp_path if stage == "encoding" else features,
            backbone=backbone,
        )
    assert listener.steps[-1].stage == stage
    assert len(listener.epochs) == {"encoding": 0, "tuning": 2, "evaluating": EPOCHS}[stage]


def test_goes_on_from_a_checkpoint_to_the_same_bits(
    tuned: tuple[TuneResult, Recorder, float],
    dataset: Dataset,
    backbone: Backbone,
    features: Path,
    tmp_path: Path,
) -> None:
    recorder = Recorder()

    def go(should_stop: bool) -> TuneResult:
        return tune(
            dataset,
            TuneConfig(**SETTINGS),
            listener=recorder,
            should_stop=lambda: should_stop and len(recorder.epochs) == 3,
            feature_dir=features,
            checkpoint_file=tmp_path / "state",
            backbone=backbone,
        )

    with pytest.raises(Cancelled):
        go(should_stop=True)
    result = go(should_stop=False)
    assert [epoch["epoch"] for epoch in recorder.epochs] == list(range(1, EPOCHS + 1))
    assert torch.equal(result.model.context, tuned[0].model.context)
    assert result.metrics["history"] == tuned[0].metrics["history"]
    assert same_blend(result, tuned[0])
    assert result.audit == tuned[0].audit


def test_features_that_cannot_be_kept_are_a_warning(
    few: Dataset, backbone: Backbone, tmp_path: Path
) -> None:
    (tmp_path / "features.sqlite").write_bytes(b"damaged " * 1000)
    recorder = Recorder()
    result = run(few, backbone, tmp_path, listener=recorder, epochs=1)
    assert result.metrics["tuned"]["images"] == len(few.labels("test"))
    assert any(str(tmp_path / "features.sqlite") in warning for warning in recorder.warnings)


def test_loads_the_backbone_that_the_configuration_names(
    dataset: Dataset, backbone: Backbone, features: Path
) -> None:
    result = tune(dataset, TuneConfig(epochs=1, device="cpu"), feature_dir=features)
    assert result.model.manifest.backbone_digest == backbone.digest
    with pytest.raises(UnknownBackbone, match="did you mean ViT-B-16"):
        tune(dataset, TuneConfig(backbone="ViT-B-17/openai"))


def test_settings_that_do_not_fit_are_named(
    dataset: Dataset, folder: Path, backbone: Backbone, features: Path
) -> None:
    with pytest.raises(ConfigError, match=r"n_ctx is 7.*4 tokens") as caught:
        run(dataset, backbone, features, n_ctx=7)
    assert caught.value.param == "n_ctx"
    words = "x1" * 90
    with load_dataset(folder, {"moon": words}) as long, pytest.raises(PromptTooLong) as too_long:
        run(long, backbone, features)
    assert too_long.value.param == words


def test_a_checkpoint_of_other_class_words_is_passed_over(
    folder: Path, dataset: Dataset, backbone: Backbone, features: Path, tmp_path: Path
) -> None:
    settings = TuneConfig(**SETTINGS | {"epochs": 3})
    kept = {"feature_dir": features, "checkpoint_file": tmp_path / "state", "backbone": backbone}
    first = tune(dataset, settings, **kept)
    with load_dataset(folder, {"coins": "old money"}) as renamed:
        recorder = Recorder()
        result = tune(renamed, settings, listener=recorder, **kept)
    assert len(recorder.epochs) == 3
    assert not torch.equal(result.model.context, first.model.context)


def test_a_checkpoint_that_cannot_be_kept_is_a_warning(
    dataset: Dataset, backbone: Backbone, features: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    recorder = Recorder()
    result = tune(
        dataset,
        TuneConfig(**SETTINGS | {"epochs": 3}),
        listener=recorder,
        feature_dir=features,
        checkpoint_file=tmp_path / "file" / "state",
        backbone=backbone,
    )
    assert len(result.metrics["history"]) == 3
    assert any("Cannot save the checkpoint" in warning for warning in recorder.warnings)
