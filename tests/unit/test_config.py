"""Settings: the defaults, what is accepted, and that a refusal names every setting at fault."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from dspt.config import DEFAULT_LR, LossName, TuneConfig
from dspt.errors import ConfigError, DsptError


def refusal(values: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        TuneConfig.parse(values)
    return caught.value


def test_nothing_has_to_be_set() -> None:
    config = TuneConfig.parse({})
    assert config == TuneConfig()
    assert (config.backbone, config.loss, config.n_ctx, config.shots) == (
        "builtin",
        "dspt",
        None,
        None,
    )
    assert (config.classifier, config.epochs, config.batch_size) == ("blend", 200, 2048)
    assert config.lr is None


def test_every_loss_has_a_rate_and_its_description_says_which() -> None:
    losses = get_args(LossName)
    assert set(DEFAULT_LR) == set(losses)
    for loss in losses:
        TuneConfig.parse({"loss": loss, "lr": DEFAULT_LR[loss]})
    said = TuneConfig.model_fields["lr"].description
    assert said is not None
    assert said.endswith("Default: 0.1 for dspt and mae, 0.04 for ce and gce.")
    assert DEFAULT_LR == {"dspt": 0.1, "mae": 0.1, "ce": 0.04, "gce": 0.04}


def test_every_setting_says_what_it_is() -> None:
    for name, field in TuneConfig.model_fields.items():
        assert field.description, name
        assert not field.is_required(), name


@pytest.mark.parametrize(
    "values",
    [
        {"backbone": "ViT-B-16/openai"},
        {"backbone": "local-dir:/models/mine"},
        {"loss": "gce"},
        {"classifier": "prompt"},
        {"classifier": "blend", "tuning": "none"},
        {"batch_size": 4096},
        {"n_ctx": 1, "ctx_init": "random"},
        {"n_ctx": 64},
        {"class_specific_context": True},
        {"augment_views": 0},
        {"shots": 16},
        {"seed": 0},
        {"device": "cuda:1"},
        {"device": "cpu"},
        {"precision": "bfloat16"},
        {"lr": 0.002, "epochs": 200},
    ],
)
def test_values_in_range_are_taken(values: dict[str, Any]) -> None:
    config = TuneConfig.parse(values)
    assert config.model_dump(include=set(values)) == values


def test_a_configuration_survives_json() -> None:
    config = TuneConfig.parse({"loss": "mae", "seed": 0, "n_ctx": 4, "lr": 0.003})
    assert TuneConfig.parse(json.loads(json.dumps(config.model_dump()))) == config


def test_spaces_around_words_do_not_count() -> None:
    assert TuneConfig.parse({"ctx_init": " a photo of a "}).ctx_init == "a photo of a"


def test_a_configuration_cannot_be_changed() -> None:
    config = TuneConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 2


def test_an_unknown_setting_is_named_beside_the_known_ones() -> None:
    error = refusal({"temperature": 0.1})
    assert error.param == "temperature"
    assert "temperature: there is no such setting; the settings are backbone, loss," in str(error)
    assert all(name in str(error) for name in TuneConfig.model_fields)


@pytest.mark.parametrize(
    ("typed", "meant"), [("batchsize", "batch_size"), ("LR", "lr"), ("epoch", "epochs")]
)
def test_a_misspelt_setting_gets_the_right_spelling(typed: str, meant: str) -> None:
    error = refusal({typed: 1})
    assert str(error) == f"{typed}: there is no such setting; did you mean {meant}?"
    assert error.param == typed


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 0, "epochs is 0 but should be greater than or equal to 1"),
        ("epochs", 1001, "epochs is 1001 but should be less than or equal to 1000"),
        ("epochs", 1.5, "epochs is 1.5 but should be a valid integer"),
        ("epochs", "many", "epochs is 'many' but should be a valid integer"),
        ("batch_size", 4097, "batch_size is 4097 but should be less than or equal to 4096"),
        ("classifier", "means", "classifier is 'means' but should be 'blend' or 'prompt'"),
        ("tuning", "off", "tuning is 'off' but should be 'prompt' or 'none'"),
        ("batch_size", -1, "batch_size is -1 but should be greater than or equal to 1"),
        ("lr", 0, "lr is 0 but should be greater than 0"),
        ("lr", 11, "lr is 11 but should be less than or equal to 10"),
        ("lr", float("nan"), "lr is nan but should be"),
        ("lr", float("inf"), "lr is inf but should be"),
        ("n_ctx", 0, "n_ctx is 0 but should be greater than or equal to 1"),
        ("n_ctx", 65, "n_ctx is 65 but should be less than or equal to 64"),
        ("ctx_init", "", "ctx_init is '' but should have at least 1 character"),
        ("ctx_init", "  ", "ctx_init is '  ' but should have at least 1 character"),
        ("augment_views", 33, "augment_views is 33 but should be less than or equal to 32"),
        ("shots", 0, "shots is 0 but should be greater than or equal to 1"),
        ("validation_fraction", 0, "validation_fraction is 0 but should be greater than 0"),
        ("validation_fraction", 0.9, "validation_fraction is 0.9 but should be less than 0.9"),
        ("seed", -1, "seed is -1 but should be greater than or equal to 0"),
        ("seed", 2**31, "seed is 2147483648 but should be less than or equal to 2147483647"),
        ("seed", None, "seed is None but should be a valid integer"),
        ("loss", "hinge", "loss is 'hinge' but should be 'dspt', 'ce', 'gce' or 'mae'"),
        ("precision", "fp16", "precision is 'fp16' but should be 'auto', 'float32' or 'bfloat16'"),
        ("device", "gpu", "device is 'gpu' but should be `auto`, `cpu`, `cuda` or `cuda:N`"),
        ("backbone", "", "backbone is '' but should have at least 1 character"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_it_should_be(
    name: str, value: object, message: str
) -> None:
    error = refusal({name: value})
    assert str(error).startswith(message)
    assert error.param == name
    assert error.code == "invalid_config"
    assert isinstance(error, DsptError)


def test_without_tuning_there_is_no_prompt_to_serve() -> None:
    error = refusal({"tuning": "none", "classifier": "prompt"})
    assert str(error) == "tuning: `none` leaves no tuned prompt for `classifier: prompt` to serve"
    assert error.param == "tuning"
    assert TuneConfig(epochs=7).tuned_epochs == 7
    assert TuneConfig(epochs=7, tuning="none").tuned_epochs == 0


def test_all_settings_at_fault_are_named_at_once() -> None:
    error = refusal({"seed": 3, "n_ctx": 65, "shots": 0, "nctx": 4})
    assert str(error) == (
        "n_ctx is 65 but should be less than or equal to 64; "
        "shots is 0 but should be greater than or equal to 1; "
        "nctx: there is no such setting; did you mean n_ctx?"
    )
    assert error.param == "n_ctx"


def test_a_long_value_is_not_repeated_in_full() -> None:
    assert len(str(refusal({"backbone": "x" * 100_000}))) < 200
    assert len(str(refusal({"lr": list(range(1000))}))) < 200


@pytest.mark.parametrize("values", [[], "epochs", 3, None])
def test_what_is_no_object_is_refused(values: object) -> None:
    error = refusal(values)
    assert re.search("must be an object of settings", str(error))
    assert error.param is None
