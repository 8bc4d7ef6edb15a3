"""Limits of the figures on a card, in sentences."""

from __future__ import annotations

from dspt.kit.text import counted, listed, printable
from dspt.report.card.schema import ModelCard

_CLASSES_SHOWN = 10
_FEW_IMAGES = 50
"""Images of a class; with fewer, a single image changes the accuracy by more than 2 points."""


def limits_of(card: ModelCard) -> list[str]:
    """Return what a user of the classifier should know, one sentence or paragraph each."""
    return [
        *_source(card),
        *_accuracy(card),
        *_classes(card),
        *_noise(card),
        *_unlabelled(card),
        *_served(card),
        f"It knows only its {len(card.classes)} classes. A photo that shows none of them still "
        "gets one of them as its most probable class.",
        *_backbone(card),
    ]


def _source(card: ModelCard) -> list[str]:
    if card.source == "job":
        return []
    return [
        "This card was made from the classifier's file only. The file does not contain the list of "
        "training photos, the files left out or the training curves, and its figures are not "
        "verified."
    ]


def _accuracy(card: ModelCard) -> list[str]:
    if card.added_classes:
        return [
            f"{len(card.added_classes)} of its classes were added by name, without photos. The "
            "accuracy measured before does not apply to the extended list: measure it again on "
            "photos of all classes."
        ]
    if not card.results or card.measured_on is None:
        return ["Its accuracy was not measured or is not recorded."]
    images = counted(card.results[0].images, "image")
    if card.measured_on == "held_out":
        first = (
            f"Accuracy was measured on {images} held out of the training photos, using "
            "their recorded labels. If such a label is wrong, a correct prediction counts as an "
            "error"
        )
        if card.noise is not None and card.noise.estimate >= 0.01:
            right = 1 - card.noise.estimate
            first += (
                f": with the estimated share of wrong labels, a perfect classifier scores about "
                f"{right:.0%}"
            )
        first += ". To measure the true accuracy, add a folder test/ with correct labels."
    else:
        first = (
            f"Accuracy was measured on {images} in {card.measured_on}/. Their labels were "
            "assumed to be correct and were not checked."
        )
    return [
        first,
        "The 95 % interval covers chance in the choice of test images of the same kind. It does "
        "not cover other conditions: another camera, light or background, or other class "
        "proportions.",
    ]


def _classes(card: ModelCard) -> list[str]:
    counts = [each.images for each in card.classes if each.images]
    added = set(card.added_classes)
    unmeasured = [
        each.name
        for each in card.classes
        if each.tuned is None and each.zero_shot is None and each.name not in added
    ]
    found = []
    if card.results and unmeasured:
        found.append(
            "Not measured, because there was no image to measure on: "
            f"{listed(unmeasured, _CLASSES_SHOWN, printable)}. The accuracy does not apply to "
            "these classes."
        )
    if not counts or min(counts) >= _FEW_IMAGES:
        return found
    return [
        *found,
        f"Single classes were measured on {min(counts)} to {max(counts)} images. In the smallest "
        f"class one image changes the accuracy by {100 / min(counts):.0f} points, so differences "
        "of that size are not meaningful.",
    ]


def _noise(card: ModelCard) -> list[str]:
    if card.noise is None:
        return ["The share of wrong training labels is not known."]
    return [
        "The share of wrong labels is an estimate. If half of the labels of a class are those of "
        "one other class, the estimate is usually too low."
    ]


def _unlabelled(card: ModelCard) -> list[str]:
    if card.unlabelled is None or not card.unlabelled.used:
        return []
    return [
        f"The ensemble also used {card.unlabelled.used:,} photos without labels. Do not compare "
        "its accuracy with that of methods that see labelled photos only."
    ]


def _served(card: ModelCard) -> list[str]:
    if card.served == "tuned":
        return []
    learned = "The class means" if card.config.get("tuning") == "none" else "Tuning"
    return [
        f"{learned} did not beat zero-shot on these photos, so zero-shot is served. Nothing "
        "learned from the photos is used."
    ]


def _backbone(card: ModelCard) -> list[str]:
    known = card.backbone
    licence = (
        f"Licence of the backbone's weights: {known.licence}."
        if known.licence
        else "The licence of the backbone's weights is not known: check their source."
    )
    if known.name == "builtin":
        return [
            "The built-in backbone covers ImageNet's 1,000 classes and similar ones. On other "
            "photos it is far weaker than a real CLIP. Use it for trials only.",
            licence,
        ]
    return [
        "The classifier inherits the biases of the backbone, which was trained on images and "
        "captions from the web. Do not use it for decisions about people.",
        licence,
    ]
