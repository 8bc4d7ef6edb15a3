"""Double-Softmax Prompt Tuning: tune CLIP's prompt on few, partly mislabelled photos.

Importing this package is cheap: each public name is loaded, with torch, when it is first used.
See docs/library.md for a tour.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dspt.backbones import load_backbone
    from dspt.config import TuneConfig
    from dspt.data import load_dataset
    from dspt.errors import (
        ArtifactError,
        BackboneError,
        BackboneMismatch,
        Cancelled,
        ConfigError,
        DatasetError,
        DsptError,
        ExportError,
        ImageError,
        PromptTooLong,
        UnknownBackbone,
        WeightsUnavailable,
    )
    from dspt.estimator import DSPTClassifier, audit
    from dspt.labels.predictions import audit_probabilities
    from dspt.model.predict import ImageClassifier
    from dspt.pipeline import tune
    from dspt.prompt import losses
    from dspt.prompt.losses import dspt_loss

    __version__: str

__all__ = [
    "ArtifactError",
    "BackboneError",
    "BackboneMismatch",
    "Cancelled",
    "ConfigError",
    "DSPTClassifier",
    "DatasetError",
    "DsptError",
    "ExportError",
    "ImageClassifier",
    "ImageError",
    "PromptTooLong",
    "TuneConfig",
    "UnknownBackbone",
    "WeightsUnavailable",
    "__version__",
    "audit",
    "audit_probabilities",
    "dspt_loss",
    "load_backbone",
    "load_dataset",
    "losses",
    "tune",
]

_MODULES = {
    "DSPTClassifier": "dspt.estimator",
    "ImageClassifier": "dspt.model.predict",
    "TuneConfig": "dspt.config",
    "audit": "dspt.estimator",
    "audit_probabilities": "dspt.labels.predictions",
    "dspt_loss": "dspt.prompt.losses",
    "load_backbone": "dspt.backbones",
    "load_dataset": "dspt.data",
    "tune": "dspt.pipeline",
}


if not TYPE_CHECKING:  # a type checker reports a name that does not exist

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'dspt' has no attribute {name!r}")
        if name == "__version__":
            from importlib.metadata import version

            value: Any = version("dspt")
        elif name == "losses":
            value = import_module("dspt.prompt.losses")
        else:
            value = getattr(import_module(_MODULES.get(name, "dspt.errors")), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
