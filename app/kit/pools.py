"""Pools of workers: each takes the work of some backbones, from a queue of its own."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from dspt.kit.text_pattern import TextPattern

#: Of an installation without DSPT_POOLS, and of rows that an earlier version created.
DEFAULT_POOL: Final = "default"

#: Part of the names of a queue and of Kubernetes objects.
PoolName = Annotated[
    str,
    TextPattern(
        r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$",
        "must be 1 to 40 lower-case letters, digits and hyphens, and neither begin nor end with a "
        "hyphen",
    ),
]


def _all_or_some(given: object, validate: ValidatorFunctionWrapHandler) -> object:
    try:
        return validate(given)
    except ValidationError:  # one for each alternative
        raise ValueError('must be "*" or a list of names of backbones') from None


class Pool(BaseModel):
    """A pool, and the backbones whose work its workers take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PoolName
    backbones: Annotated[Literal["*"] | tuple[str, ...], WrapValidator(_all_or_some)]
    """`*`: all."""

    def takes(self, backbone: str) -> bool:
        return self.backbones == "*" or backbone in self.backbones


def queue_of(pool: str) -> str:
    """Return the broker's queue of a pool."""
    return "dspt" if pool == DEFAULT_POOL else f"dspt.{pool}"


def worker_of(pool: str) -> str:
    """Return "worker" for the default pool, else with the name of the pool, for messages."""
    return "worker" if pool == DEFAULT_POOL else f"worker of the pool {pool}"


def start_command(pool: str) -> str:
    """Return the command that starts a worker of a pool."""
    return "dspt worker" if pool == DEFAULT_POOL else f"dspt worker --pool {pool}"
