"""What the figures of a card say, and what they do not."""

from __future__ import annotations

from dspt.report.card.schema import ModelCard

_FEW_IMAGES = 50
"""Of a class: with fewer, one image is more than two points."""


def limits_of(card: ModelCard) -> list[str]:
    """Sentences for whoever is about to rely on the classifier."""
    return [
        *_source(card),
        *_accuracy(card),
        *_classes(card),
        *_noise(card),
        *_served(card),
        f"It knows its {len(card.classes)} classes only: a photo that shows none of them is still "
        "given a share of each, and one of them is the likeliest.",
        *_backbone(card),
    ]


def _source(card: ModelCard) -> list[str]:
    if card.source == "job":
        return []
    return [
        "This card is made from the classifier's file alone. It does not say which photos it was "
        "tuned on, which were left out, or how the tuning went, and nobody has checked the figures "
        "that stand in it."
    ]


def _accuracy(card: ModelCard) -> list[str]:
    if card.added_classes:
        return [
            f"{len(card.added_classes)} of its classes were added by name, without a photo of "
            "them. What was measured before does not hold with them: compare it on photos of all "
            "classes."
        ]
    if not card.results or card.measured_on is None:
        return ["How accurate it is was not measured, or is not said."]
    images = card.results[0].images
    if card.measured_on == "held_out":
        first = (
            f"Accuracy was measured on {images} images held out of the training photos, against "
            "the labels that they came with. Where such a label is wrong, a right answer counts "
            "as a mistake"
        )
        if card.noise is not None and card.noise.estimate >= 0.01:
            right = 1 - card.noise.estimate
            first += (
                f": at the estimated share of wrong labels a perfect one gets about {right:.0%}"
            )
        first += ". Photos in a folder test/ whose labels are right would settle it."
    else:
        first = (
            f"Accuracy was measured on {images} images in {card.measured_on}/. Their labels were "
            "taken as right; nobody checked them."
        )
    return [
        first,
        "The 95 % interval says how far the accuracy may lie from that on many more images of the "
        "same kind. It says nothing of photos of another kind: another camera, light or "
        "background, or classes in other proportions.",
    ]


def _classes(card: ModelCard) -> list[str]:
    counts = [each.images for each in card.classes if each.images]
    if not counts or min(counts) >= _FEW_IMAGES:
        return []
    least = min(counts)
    one = "it" if least == 1 else f"one of {least}"
    return [
        f"Single classes were measured on {least} to {max(counts)} images: {one} makes "
        f"{1 / least:.0%} of such a class's accuracy, so differences of that size mean nothing."
    ]


def _noise(card: ModelCard) -> list[str]:
    if card.noise is None:
        return ["How many of the training labels are wrong is not known."]
    return [
        "The share of wrong labels is an estimate. Where half of the labels of a class are those "
        "of one other class, it is usually too low."
    ]


def _served(card: ModelCard) -> list[str]:
    if card.served == "tuned":
        return []
    return [
        "Tuning did not beat zero-shot on these photos, so zero-shot answers: nothing was learned "
        "from them."
    ]


def _backbone(card: ModelCard) -> list[str]:
    known = card.backbone
    licence = (
        f"The weights of the backbone are under this licence: {known.licence}."
        if known.licence
        else "The licence of the backbone's weights is not known here: see where they came from."
    )
    if known.name == "builtin":
        return [
            "The built-in backbone knows ImageNet's thousand classes and what is close to them; on "
            "other photos it is far weaker than a real CLIP. It is for trying out.",
            licence,
        ]
    return [
        "Whatever the backbone has taken over from the pictures and captions of the web that it "
        "learned from, biases among it, is in the answers. Not for decisions about people.",
        licence,
    ]
