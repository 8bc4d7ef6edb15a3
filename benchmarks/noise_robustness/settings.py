"""What is run: recipe, methods and the grid of cells."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from dspt.config import DEFAULT_LR, LossName, TuneConfig

UNLABELLED = "default_unlabelled"
"""Another setting: it also sees the training images that are not drawn, without their labels."""
LABELS = {
    "zero_shot": "zero-shot",
    "ce": "CE (CoOp)",
    "gce": "GCE 0.7",
    "mae": "MAE",
    "dspt": "DSPT, prompt alone",
    "default": "this service",
    UNLABELLED: "this service, with unlabelled photos",
    "logistic": "logistic regression",
    "logistic_cleanlab": "logistic regression, after cleanlab",
    "gda": "GDA",
    "gda_text": "GDA and zero-shot",
    "tip_adapter_f": "Tip-Adapter-F",
    "clap_gce": "CLAP with GCE",
    "lp_plus": "LP++",
    "elr": "ELR, linear",
    "nlprompt": "NLPrompt in full",
    "transclip": "TransCLIP-FS (transductive)",
}
"""Method -> what the tables call it."""
METHODS = tuple(LABELS)
LOSSES: tuple[LossName, ...] = ("ce", "gce", "mae", "dspt")

NoiseKind = Literal["clean", "symmetric", "asymmetric", "human"]
Protocol = Literal["global", "per_class"]
RecipeName = Literal["project", "coop"]

COOP_LAYOUT = """\
A data set may also be prepared as CoOp's authors say (split_zhou_*.json, FGVCAircraft)."""
PAPER_RATES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75)


@dataclass(frozen=True)
class Recipe:
    """How the single losses are tuned. The default method has its own settings (TuneConfig)."""

    name: RecipeName
    epochs: int
    batch_size: int
    n_ctx: int | None
    ctx_init: str
    lr: dict[LossName, float]
    """Peak rate of each loss."""
    augment_views: int

    @classmethod
    def of(cls, name: RecipeName, epochs: int | None = None) -> Recipe:
        """Return a recipe.

        `project`: the settings of this service. `coop`: those of CoOp (Zhou et al., IJCV 2022),
        which the papers on label noise use: learning rate 0.002 for every loss, 16 random context
        vectors, random resized crops and flips.
        """
        own = TuneConfig()
        if name == "project":
            context, views = (own.n_ctx, own.ctx_init), own.augment_views
            found = cls(name, own.epochs, own.batch_size, *context, dict(DEFAULT_LR), views)
        else:
            found = cls(name, 50, 32, 16, "random", dict.fromkeys(LOSSES, 0.002), 8)
        return replace(found, epochs=epochs or found.epochs)


@dataclass(frozen=True)
class Noise:
    """How the labels of a cell are made wrong."""

    kind: NoiseKind
    protocol: Protocol | None = None
    """None for clean and human labels."""
    rate: float = 0.0
    """Share of labels to flip; 0 for human labels."""
    column: str = ""
    """Column of the table of human labels."""

    @property
    def name(self) -> str:
        """`clean`, `global-symmetric-37.5`, `human-worse`: unique, and a valid file name."""
        if self.kind == "clean":
            return "clean"
        if self.kind == "human":
            return f"human-{self.column}"
        return f"{self.protocol}-{self.kind}-{100 * self.rate:g}"


CLEAN = Noise("clean")


@dataclass(frozen=True)
class Cell:
    """One point of the grid."""

    dataset: str
    shots: int
    noise: Noise
    seed: int
    """Of the few shots, the flips and the tuning."""

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.shots}shot-{self.noise.name}-seed{self.seed}"


@dataclass(frozen=True)
class Settings:
    """What decides the figures, apart from the photos and the weights."""

    recipe: Recipe
    methods: tuple[str, ...]
    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    noises: tuple[Noise, ...]
    default_config: dict[str, Any]
    """Settings of the default method that differ from the service's."""
    logistic_c: float | None
    """Inverse regularisation strength of logistic regression; None: by cross-validation."""
    backbone: str
    device: str
    precision: str

    @property
    def losses(self) -> tuple[LossName, ...]:
        return tuple(loss for loss in LOSSES if loss in self.methods)

    @property
    def unlabelled(self) -> bool:
        """Return whether a method sees the training images that are not drawn."""
        return UNLABELLED in self.methods

    @property
    def train_views(self) -> int:
        """Return the number of augmented views of each training image to encode."""
        return max(self.recipe.augment_views, self.tune_config(0).augment_views)

    def tune_config(self, seed: int) -> TuneConfig:
        """Return the settings of the default method. Raises ConfigError."""
        return TuneConfig.parse({**self.default_config, "precision": self.precision, "seed": seed})

    def cells(self, datasets: tuple[str, ...]) -> list[Cell]:
        """Return the grid, seed by seed, so that a stopped run has full tables of fewer seeds."""
        return [
            Cell(dataset, shots, noise, seed)
            for seed in self.seeds
            for shots in self.shots
            for dataset in datasets
            for noise in self.noises
        ]


def settings_of(options: Namespace, **changes: Any) -> Settings:
    """Return the settings in the options. Raises ConfigError."""
    given: dict[str, Any] = vars(options) | changes
    names = ("logistic_c", "backbone", "device", "precision", "default_config")
    settings = Settings(
        recipe=Recipe.of(given["recipe"], given["epochs"]),
        methods=tuple(
            name
            for name in METHODS
            if name in given["methods"] or (name == "default" and UNLABELLED in given["methods"])
        ),
        shots=tuple(dict.fromkeys(given["shots"])),
        seeds=tuple(dict.fromkeys(options.seeds)),
        noises=_noises(options, given["protocols"]),
        **{name: given[name] for name in names},
    )
    settings.tune_config(0)
    return settings


def _noises(options: Namespace, protocols: Sequence[Protocol]) -> tuple[Noise, ...]:
    """Return the noises of --given-labels, or else CLEAN for rate 0 and those of other rates."""
    if options.given_labels:
        columns = dict.fromkeys(options.given_column)
        return (CLEAN, *(Noise("human", column=column) for column in columns))
    clean = (CLEAN,) if 0.0 in options.rates else ()
    flips = product(*map(dict.fromkeys, (protocols, options.kinds, options.rates)))
    return (*clean, *(Noise(kind, protocol, rate) for protocol, kind, rate in flips if rate))
