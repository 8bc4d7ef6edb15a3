"""Metrics and events of jobs, as the OpenAPI document describes them.

A response has them as they were stored, perhaps by an earlier version or in an imported file, so
any member may be missing. Lists leave out what grows with the number of classes, epochs or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import TypedDict

_Part = Literal["zero_shot", "prompt", "tuned"]
_Interval = tuple[float, float]
_Groups = list[list[str]]


@dataclass(frozen=True)
class Described:
    """Annotation of an open object in a response: the OpenAPI document has the schema of `type`."""

    type: Any

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(TypeAdapter(self.type).core_schema)


class ClassifierMetrics(TypedDict, total=False):
    """Metrics of one classifier on the images that accuracy was measured on. Shares are 0 to 1."""

    images: int
    accuracy: float
    accuracy_interval: Annotated[_Interval, Field(description="95 % (Wilson).")]
    balanced_accuracy: Annotated[
        float, Field(description="Mean of the classes' accuracies; each class counts the same.")
    ]
    calibration_error: Annotated[float, Field(description="Expected calibration error.")]
    per_class: Annotated[
        dict[str, float | None],
        Field(description="Accuracy by class; null for a class without images."),
    ]
    per_class_interval: Annotated[
        dict[str, _Interval | None], Field(description="95 % (Wilson) around `per_class`.")
    ]
    confusion: Annotated[
        list[list[int]] | None,
        Field(
            description="Counts in the order of the classes; row: label, column: prediction. Null "
            "with very many classes."
        ),
    ]


class EnsembleWeights(TypedDict, total=False):
    """Weights of the parts of the tuned classifier; 0 for a prompt that was not tuned."""

    zero_shot: float
    prompt: float
    class_means: float


class EpochMetrics(TypedDict):
    """Metrics of one epoch of the tuning."""

    epoch: Annotated[int, Field(description="From 1.")]
    loss: float
    train_accuracy: Annotated[
        float,
        Field(
            description="Against the given labels; with more than 256 classes, among the about 128 "
            "classes of a step."
        ),
    ]
    suppressed: Annotated[float, Field(description="Share of images that tuning ignores as noise.")]
    lr: float


class CopyMetrics(TypedDict, total=False):
    """Copies of photos; each photo counts once. Groups are lists of files, at most 100 of each."""

    photos: int
    copies: Annotated[int, Field(description="Files beyond one per photo.")]
    in_class: Annotated[_Groups, Field(description="Groups in which all labels agree.")]
    across_classes: Annotated[
        _Groups, Field(description="Groups with several labels, of which at most one is right.")
    ]
    across_splits: Annotated[
        _Groups,
        Field(description="Groups in training and in test/ or val/; they are not measured."),
    ]
    single_photo: Annotated[
        list[str], Field(description="Classes whose training files all are copies of one photo.")
    ]
    n_in_class: int
    n_across_classes: int
    n_across_splits: int
    leaked: Annotated[
        int, Field(description="Images not measured because training has a copy of them.")
    ]
    accuracy_with_leaked: Annotated[
        float | None, Field(description="Accuracy if they were measured.")
    ]


class UnlabelledMetrics(TypedDict, total=False):
    """Photos without labels: the tuned classifier is semi-supervised."""

    photos: int
    used: Annotated[
        int, Field(description="Those that moved the class means; copies of other photos never do.")
    ]
    accuracy_without: Annotated[
        float | None,
        Field(description="Accuracy of the tuned classifier without them; null if none is used."),
    ]


class NoiseRateView(BaseModel):
    """Estimated share of wrong labels, 0 to 1, with a 90 % interval."""

    estimate: float
    low: float
    high: float


class DriftFigures(BaseModel):
    """What photos look like to a classifier. Shares are 0 to 1."""

    images: int
    low_confidence: float = Field(description="Share of predictions with a probability below 0.5.")
    distance: float | None = Field(
        description="Mean distance from the photos that it was tuned on, 0 to 2: 1 - cosine to the "
        "nearest class mean."
    )
    far: float | None = Field(
        description="Share of photos further away than 95 % of the photos that accuracy was "
        "measured on."
    )


class DriftBaseline(DriftFigures):
    """Of the photos that accuracy was measured on."""

    far_beyond: float | None = Field(description="Distance beyond which a photo is far.")


class TuningMetrics(TypedDict, total=False):
    """Metrics of a job; those in a model's file lack confusion, copies, history and seconds."""

    zero_shot: ClassifierMetrics
    prompt: Annotated[ClassifierMetrics, Field(description="Of the tuned prompt alone.")]
    tuned: Annotated[ClassifierMetrics, Field(description="Of the tuned classifier.")]
    served: Annotated[_Part, Field(description="Which one is served.")]
    why: Annotated[str, Field(description="Why, in a sentence or two.")]
    temperatures: Annotated[dict[_Part, float], Field(description="Of the calibration.")]
    blend: EnsembleWeights
    measured_on: Annotated[str, Field(description="test, val or held_out.")]
    labels: Annotated[str, Field(description="clean, or given: the labels may be wrong.")]
    noise_rate: Annotated[
        NoiseRateView | None,
        Field(description="Share of wrong labels; null if it cannot be estimated."),
    ]
    drift_baseline: Annotated[
        DriftBaseline, Field(description="What the `drift` of the model is compared with.")
    ]
    unlabelled: Annotated[
        UnlabelledMetrics, Field(description="Only where the data set has photos without labels.")
    ]
    copies: Annotated[CopyMetrics | None, Field(description="Null if there are none.")]
    history: list[EpochMetrics]
    seconds: Annotated[dict[str, float], Field(description="Duration of each stage.")]


class WarningData(TypedDict):
    """Data of a `warning` event."""

    message: str
