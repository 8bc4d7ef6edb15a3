"""The errors that a user can cause or fix, as one tree.

DsptError
├── ConfigError              a setting is unknown, out of range or contradicts another
├── DatasetError             the labelled photos cannot be used; `problems` names each file or class
├── PromptTooLong            context and class words exceed the context window
├── BackboneError
│   ├── UnknownBackbone      the name of the backbone is unknown
│   └── WeightsUnavailable   its weights cannot be loaded on this machine
├── ArtifactError            a model file is damaged or was not written by dspt
│   └── BackboneMismatch     the model was tuned on other weights than these
├── ExportError              a classifier cannot be written in another format
├── ImageError               one image cannot be decoded
└── Cancelled                the caller asked to stop

`code` is stable and machine-readable; `param` names the invalid setting, file or class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class DsptError(Exception):
    """Base class. The message says what is wrong and how to fix it."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the error as it is; its class may take other arguments."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(
    kind: type[DsptError], args: tuple[object, ...], state: dict[str, object]
) -> DsptError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ConfigError(DsptError):
    code = "invalid_config"


@dataclass(frozen=True)
class Problem:
    """One problem of a data set: the file or class folder, a stable code, a message."""

    where: str
    code: str
    message: str


class DatasetError(DsptError):
    """All problems of a data set at once; `code` is the first problem's."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("a DatasetError needs at least one problem")
        first, more = problems[0], len(problems) - 1
        where = f"{first.where}: " if first.where else ""
        tail = f" (and {more} more)" if more else ""
        super().__init__(f"{where}{first.message}{tail}", param=first.where or None)
        self.problems = tuple(problems)
        self.code = first.code  # type: ignore[misc]  # the instance is more precise than its class


class PromptTooLong(DsptError):
    code = "prompt_too_long"


class BackboneError(DsptError):
    code = "backbone_error"


class UnknownBackbone(BackboneError):
    code = "unknown_backbone"


class WeightsUnavailable(BackboneError):
    code = "weights_unavailable"


class ArtifactError(DsptError):
    code = "invalid_artifact"


class BackboneMismatch(ArtifactError):
    code = "backbone_mismatch"


class ExportError(DsptError):
    code = "cannot_export"


class ImageError(DsptError):
    code = "unreadable_image"


class Cancelled(DsptError):
    code = "cancelled"
