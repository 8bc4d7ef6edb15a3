"""`dspt compare`: compare two tuned classifiers on the same labelled images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dspt.cli.options import AsJson, BackboneName, Corrected, Data
from dspt.cli.predict import DeviceOption
from dspt.cli.terminal import errors_shown, feature_dir, out, print_json, print_stderr
from dspt.errors import DatasetError, Problem
from dspt.kit.cpus import set_thread_defaults
from dspt.kit.text import counted

if TYPE_CHECKING:
    from dspt.backbones.base import Backbone
    from dspt.data import Dataset
    from dspt.features.store import FeatureStore
    from dspt.model.artifact import TunedModel

_CLASSES_SHOWN = 30


def compare(
    a: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Tuned classifier.")],
    b: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="Tuned classifier to compare with.")
    ],
    data: Data,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Use all images. Valid only if neither was tuned on any of them.",
        ),
    ] = False,
    corrections: Corrected = None,
    backbone: BackboneName = None,
    device: DeviceOption = "auto",
    as_json: AsJson = False,
) -> None:
    """Compare two tuned classifiers on the test images of a data set.

    Without test/ and val/, on the images that were held out when either was tuned on this data
    set. If one was tuned on corrected labels, pass its tables with --corrections.

    Shows the accuracy of both, overall and by class, and tests the difference (McNemar).
    """
    with errors_shown(data):
        set_thread_defaults()
        from dspt.data import load_dataset
        from dspt.kit.device import resolve_device
        from dspt.labels.audit_csv import corrections_from_csv
        from dspt.model.artifact import load_model

        models = [load_model(path) for path in (a, b)]
        where = resolve_device(device)
        with load_dataset(data) as opened:
            versions = [opened]
            for path in corrections or ():
                table = corrections_from_csv(path.read_bytes(), path.name, versions[-1].classes)
                versions.append(table.apply(versions[-1]))
            from dspt.kit.light_torch import import_light

            import_light()
            from dspt.backbones import load_backbone
            from dspt.features.encode import encode_images
            from dspt.features.store import FeatureStore
            from dspt.model.predict import FeatureClassifier
            from dspt.report.comparison import compare as compared

            store, predicted = FeatureStore(feature_dir(), on_failure=print_stderr), []
            names = [backbone or model.manifest.config.backbone for model in models]
            loaded = {name: load_backbone(name, device=where) for name in dict.fromkeys(names)}
            towers = [loaded[name] for name in names]
            dataset = versions[-1] if everything else held_out(versions, models, towers, store)
            for model, tower in zip(models, towers, strict=True):
                classifier = FeatureClassifier(model, tower)
                features = encode_images(tower, dataset, store=store)[:, 0].to(where)
                predicted.append([top[0][0] for top in classifier.top(features, 1)])
        truth = [dataset.classes[item.label] for item in dataset.items]
        found = compared(truth, *predicted, *(model.manifest.classes for model in models))
    document = {"models": {"a": str(a), "b": str(b)}, **found.to_dict()}
    if as_json:
        print_json(document)
    else:
        out.print(comparison_tables(document))


def held_out(
    versions: Sequence[Dataset],
    models: Sequence[TunedModel],
    towers: Sequence[Backbone],
    store: FeatureStore,
) -> Dataset:
    """Return the images of test/, or of val/, or those that were held out when tuning each model.

    versions: the data set as uploaded, and after each table of corrections; the labels are those
    of the last; towers: the backbone of each model. Raises DatasetError if there are no such
    images.
    """
    dataset = versions[-1]
    for part in ("test", "val"):
        rows = [row for row, item in enumerate(dataset.items) if item.split == part]
        if rows:
            return _with_rows(dataset, rows)
    shared = set.intersection(
        *(
            _held_out_of(model, versions, tower, store)
            for model, tower in zip(models, towers, strict=True)
        )
    )
    rows = [row for row, item in enumerate(dataset.items) if item.path in shared]
    if not rows:
        message = (
            "has no test/ to compare on, and no image is known to have been held out for both "
            "classifiers: pass the corrections that they were tuned with (--corrections), or, if "
            "neither was tuned on any of these images, use --all"
        )
        raise DatasetError([Problem("", "no_test_part", message)])
    return _with_rows(dataset, rows)


def _held_out_of(
    model: TunedModel, versions: Sequence[Dataset], tower: Backbone, store: FeatureStore
) -> set[str]:
    """Return the paths that were held out, empty if the model was tuned on another data set.

    Copies of a photo decide which are, so all photos are encoded as when tuning.
    """
    from dspt.data.copies import empty_thumbnails, groups_of
    from dspt.data.splits import Splits
    from dspt.features.encode import encode_images

    for version in versions:
        if version.sha256 == model.manifest.dataset_sha256:
            whole = version.everything()
            thumbnails = empty_thumbnails(len(whole.items))
            features = encode_images(tower, whole, store=store, thumbnails=thumbnails)
            embeddings = features[:, 0, : tower.embed_dim].to(tower.device)
            groups = groups_of(version, embeddings, thumbnails)
            splits = Splits.of(version, model.manifest.config, *groups)
            return {version.items[row].path for row in splits.measured}
    return set()


def _with_rows(dataset: Dataset, rows: Sequence[int]) -> Dataset:
    return dataclasses.replace(
        dataset,
        items=tuple(dataset.items[row] for row in rows),
        hashes=tuple(dataset.hashes[row] for row in rows),
    )


def comparison_tables(found: Mapping[str, Any]) -> RenderableType:
    """Return the tables of a `Comparison.to_dict()` that also has both names as `models`."""
    names = [Text(f"{side.upper()}: {found['models'][side]}") for side in ("a", "b")]
    table = Table(title=f"Accuracy on {counted(found['images'], 'image')}")
    for column in ("", "accuracy", "95 % interval", "right alone"):
        table.add_column(column, justify="right" if column else "left")
    for side in ("a", "b"):
        low, high = found[side]["accuracy_interval"]
        table.add_row(
            side.upper(),
            f"{found[side]['accuracy']:.1%}",
            f"{low:.1%} to {high:.1%}",
            str(found[f"only_{side}_right"]),
        )
    classes = Table(title="By class, the largest differences first")
    for column in ("class", "images", "A", "B", "B - A"):
        classes.add_column(
            column, overflow="fold", justify="left" if column == "class" else "right"
        )
    rows = sorted(found["per_class"], key=lambda row: -abs(row["b"] - row["a"]))
    for row in rows[:_CLASSES_SHOWN]:
        points = f"{100 * (row['b'] - row['a']):+.1f}"
        shares = (f"{row['a']:.1%}", f"{row['b']:.1%}")
        classes.add_row(Text(row["name"]), str(row["images"]), *shares, points)
    if len(rows) > _CLASSES_SHOWN:
        classes.caption = f"and {len(rows) - _CLASSES_SHOWN} more"
    return Group(*names, table, classes, *(Text(note) for note in _notes(found)))


def _notes(found: Mapping[str, Any]) -> list[str]:
    notes = [found["verdict"]]
    for side in ("a", "b"):
        if names := found[side]["only_here"]:
            listed = ", ".join(names[:10]) + (", ..." if names[10:] else "")
            notes.append(f"Only {side.upper()} has the class {listed} and may predict it.")
    if found["left_out"]:
        notes.append(
            f"Not compared: {counted(found['left_out'], 'image')}, whose class A or B lacks."
        )
    return notes
