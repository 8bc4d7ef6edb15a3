"""What a tuning run may be told. Every default is right for a newcomer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dspt.errors import ConfigError

LossName = Literal["dspt", "ce", "gce", "mae"]


class TuneConfig(BaseModel):
    """Settings of one tuning run; unknown keys are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field(
        "builtin",
        min_length=1,
        max_length=200,
        description="`builtin`, an open_clip name and tag such as `ViT-B-16/openai`, or "
        "`local-dir:/path/to/model`.",
    )
    loss: LossName = Field("dspt", description="Loss that the context is tuned with.")
    epochs: int = Field(50, ge=1, le=1000, description="Passes over the training features.")
    batch_size: int = Field(32, ge=1, le=4096, description="Images per step.")
    lr: float = Field(
        0.02,
        gt=0,
        le=10,
        description="Peak learning rate of SGD, for token embeddings of standard deviation 0.015 "
        "and a logit scale of 30; rescaled to the backbone at hand.",
    )
    n_ctx: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Number of context vectors. Left out: as many as `ctx_init` has tokens, or 16 "
        "when it is `random`.",
    )
    ctx_init: str = Field(
        "a photo of a",
        min_length=1,
        max_length=200,
        description="Words the context starts from, or `random`.",
    )
    class_specific_context: bool = Field(
        False, description="One set of context vectors per class instead of a shared one."
    )
    augment_views: int = Field(
        0, ge=0, le=32, description="Random-resized-crop and flip views encoded per training image."
    )
    shots: int | None = Field(
        None, ge=1, le=100_000, description="At most this many training images per class; "
        "left out: all."
    )
    validation_fraction: float = Field(
        0.2, gt=0, lt=0.9, description="Share of the training images held out to measure on when "
        "the data set has neither `test/` nor `val/`."
    )
    seed: int = Field(1, ge=0, le=2**31 - 1, description="Seed of every random choice.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Arithmetic of the towers; the loss is always float32."
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="`auto`, `cpu`, `cuda` or `cuda:N`."
    )

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> TuneConfig:
        """Validate `values`; raises ConfigError naming every setting at fault."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(
                "; ".join(_explain(e) for e in error.errors()),
                param=".".join(str(p) for p in error.errors()[0]["loc"]) or None,
            ) from error


def _explain(error: Any) -> str:
    name = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        known = ", ".join(sorted(TuneConfig.model_fields))
        return f"{name}: there is no such setting; the settings are {known}"
    return f"{name}: {error['msg']}"
