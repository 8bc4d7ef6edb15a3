"""The settings of a tuning run."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from dspt.errors import ConfigError
from dspt.kit.text import without_prefix
from dspt.kit.text_pattern import TextPattern

LossName = Literal["dspt", "ce", "gce", "mae"]
ClassifierName = Literal["blend", "prompt"]
TuningName = Literal["prompt", "none"]

DEFAULT_LR: dict[LossName, float] = {"dspt": 0.1, "mae": 0.1, "ce": 0.04, "gce": 0.04}
"""For 200 full-batch steps of up to 256 classes; chosen on the built-in backbone with 0 to 50 %
wrong labels."""


class TuneConfig(BaseModel):
    """Settings of one tuning run. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    backbone: str = Field(
        default="builtin",
        min_length=1,
        max_length=200,
        description="`builtin`, an open_clip name and tag such as `ViT-B-16/openai`, or "
        "`local-dir:/path/to/model`.",
    )
    loss: LossName = Field(default="dspt", description="Loss that the context is tuned with.")
    classifier: ClassifierName = Field(
        default="blend",
        description="`blend` weighs the tuned prompt, zero-shot and the class means of the "
        "training images; `prompt` is the tuned prompt alone, as in the papers.",
    )
    tuning: TuningName = Field(
        default="prompt",
        description="`prompt` tunes the context. `none` tunes nothing: the classifier is zero-shot "
        "and the class means alone, fitted in seconds. The context, the loss and the settings of "
        "the tuning then have no effect.",
    )
    epochs: int = Field(
        default=200, ge=1, le=1000, description="Passes over the training features."
    )
    batch_size: int = Field(
        default=2048,
        ge=1,
        le=4096,
        description="Images per step. The text tower decides the cost of a step, not the number of "
        "images, so the default is full-batch up to 2,048 images. With more than 256 classes, a "
        "step takes about 128 of them, with their images.",
    )
    lr: float | None = Field(
        default=None,
        gt=0,
        le=10,
        description="Peak learning rate of SGD, for token embeddings of standard deviation 0.015; "
        "rescaled to the backbone. Default: 0.1 for dspt and mae, 0.04 for ce and gce.",
    )
    n_ctx: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Number of context vectors. Default: as many as `ctx_init` has tokens, or 16 "
        "when it is `random`.",
    )
    ctx_init: str = Field(
        default="a photo of a",
        min_length=1,
        max_length=200,
        description="Words that the context is initialised with, or `random`.",
    )
    class_specific_context: bool = Field(
        default=False, description="One set of context vectors per class instead of a shared one."
    )
    augment_views: int = Field(
        default=0,
        ge=0,
        le=32,
        description="Random-resized-crop and flip views encoded per training image.",
    )
    shots: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="At most this many training images per class. Default: all.",
    )
    validation_fraction: float = Field(
        default=0.2,
        gt=0,
        lt=0.9,
        description="Share of the training images held out to measure on when "
        "the data set has neither `test/` nor `val/`.",
    )
    seed: int = Field(default=1, ge=0, le=2**31 - 1, description="Seed of every random choice.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Arithmetic of the text tower while tuning; features, class embeddings and "
        "the loss are float32. `auto`: bfloat16 where the processor has it.",
    )
    device: Annotated[
        str, TextPattern(r"^(auto|cpu|cuda(:\d+)?)$", "must be `auto`, `cpu`, `cuda` or `cuda:N`")
    ] = Field(
        default="auto",
        description="`auto`, `cpu`, `cuda` or `cuda:N`.",
    )

    @field_validator("tuning")
    @classmethod
    def _has_a_prompt_to_serve(cls, value: TuningName, info: ValidationInfo) -> TuningName:
        if value == "none" and info.data.get("classifier") == "prompt":
            raise ValueError("`none` leaves no tuned prompt for `classifier: prompt` to serve")
        return value

    @property
    def tuned_epochs(self) -> int:
        """Epochs of the tuning; 0 if no prompt is tuned."""
        return self.epochs if self.tuning == "prompt" else 0

    @property
    def backbone_is_a_place(self) -> bool:
        """Whether `backbone` is a folder, a file after `@`, or an address, and not a plain name.

        The weights of a plain name come from open_clip's registry.
        """
        return ":" in self.backbone or "@" in self.backbone

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> TuneConfig:
        """Validate `values`. Raises ConfigError that names every invalid setting.

        The error's `param` is the first of them.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = error.errors(include_url=False)
            raise ConfigError(
                "; ".join(explain(problem) for problem in problems),
                param=_setting(problems[0]) or None,
            ) from error


def explain(problem: ErrorDetails) -> str:
    """Return what is wrong with a setting, its name first."""
    name = _setting(problem)
    if not name:
        return "the configuration must be an object of settings and their values"
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        known = list(TuneConfig.model_fields)
        close = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the settings are {', '.join(known)}"
        return f"{name}: there is no such setting; {hint}"
    given = reprlib.repr(problem["input"])
    if problem["type"] == "string_pattern_mismatch":  # a regular expression is no help to the user
        wanted = (TuneConfig.model_fields[name].description or "").rstrip(".")
        return f"{name} is {given} but should be {wanted}"
    # pydantic begins with the kind of value: "Input should be ...", "String should have ..."
    wanted, changed = re.subn(r"^\w+ should", "but should", problem["msg"])
    wanted = without_prefix(wanted)
    return f"{name} is {given} {wanted}" if changed else f"{name}: {wanted}"


def _setting(problem: ErrorDetails) -> str:
    return ".".join(str(part) for part in problem["loc"])
