"""From measurements to goals."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.serving.bench import MANY_CLIENTS
from benchmarks.serving.disturbed import FEW_WAITING, TOO_MANY_CLIENTS
from benchmarks.skeleton.report import Goal

Found = Mapping[str, Any]
#: The goals.
LEAST_RATIO = 0.90
MOST_LOSS = 0.03
LEAST_UNDER_PRESSURE = 0.90

_MANY_MODELS = "1000"


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, median and maximum."""
    return {"least": min(values), "median": statistics.median(values), "most": max(values)}


def ratio(found: Found) -> dict[str, float]:
    """Return the speed of the service as a share of its tower, over the pairs of measurements."""
    return spread([pair["ratio"] for pair in found["pairs"]])


def losses(residents: Found) -> dict[str, dict[str, float]]:
    """Return, by number of models, the share of speed lost to that many, over the rounds."""
    rounds = residents["rounds"]
    return {
        count: spread(
            [
                1 - each[count]["images_per_second"] / each["1"]["images_per_second"]
                for each in rounds
            ]
        )
        for count in rounds[0]
        if count != "1"
    }


def parts(found: Found) -> dict[str, float]:
    """Return the CPU time per image by part in milliseconds, with many clients, largest first.

    Tower and decoding are those measured alone; what the API needs beyond these and its event loop
    is `threads and batches`.
    """
    pairs = [pair["cpu_ms"] for pair in found["pairs"]]
    spent = {name: statistics.median(pair[name] for pair in pairs) for name in pairs[0]}
    raw = found["raw"]
    split = {
        "tower": raw["best"]["cpu_ms"],
        "JPEG to crop": raw["decode"]["cpu_ms"],
        "HTTP (event loop)": spent.pop("API, event loop"),
    }
    split["threads and batches"] = max(0.0, spent.pop("API") - sum(split.values()))
    return dict(sorted((split | spent).items(), key=lambda item: -item[1]))


def goals(document: Found) -> list[Goal]:
    """Return the goals of what was measured."""
    return [*_speed(document), *_residents(document), *_disturbed(document)]


def _speed(document: Found) -> Iterator[Goal]:
    for name, found in document.get("backbones", {}).items():
        if found.get("pairs"):
            of_raw = ratio(found)
            yield (
                f"{name}: {MANY_CLIENTS} clients get {LEAST_RATIO:.2f} of the tower's images per "
                "second, JPEG decoding included",
                f"{_range(of_raw)} of {found['raw']['best']['images_per_second']:.0f}",
                of_raw["median"] >= LEAST_RATIO,
            )


def _residents(document: Found) -> Iterator[Goal]:
    residents = document.get("residents", {})
    if not residents.get("rounds"):
        return
    loss = losses(residents).get(_MANY_MODELS)
    if loss is not None:
        yield (
            f"1,000 models: at most {MOST_LOSS:.0%} slower than one",
            f"{loss['median']:+.1%} ({loss['least']:+.1%} to {loss['most']:+.1%})",
            loss["median"] <= MOST_LOSS,
        )


def _disturbed(document: Found) -> Iterator[Goal]:
    switch = document.get("switch")
    if switch:
        faults = [switch[name] for name in ("failed", "failed_moves", "mixed", "stale")]
        yield (
            "an alias moves: no request fails, or is answered by two models or the old one",
            f"{switch['moves']} moves, {switch['requests']:,} requests: {switch['failed']} failed, "
            f"{switch['mixed']} mixed, {switch['stale']} by the old model",
            switch["moves"] > 0 and not any(faults),
        )
    pressure = document.get("pressure", {})
    few, many = (pressure.get(str(count)) for count in (MANY_CLIENTS, TOO_MANY_CLIENTS))
    if few and many:
        kept = many["images_per_second"] / few["images_per_second"]
        yield (
            f"{TOO_MANY_CLIENTS} clients, of which {FEW_WAITING} may wait: the others get "
            f"Retry-After, and at least {LEAST_UNDER_PRESSURE:.0%} of the speed remains",
            f"{many['refused']:,} refused, {many['refused'] - many['told_when']} of them without "
            f"Retry-After; {kept:.0%} of the speed",
            many["refused"] == many["told_when"] > 0
            and many["failed"] == many["refused"]
            and kept >= LEAST_UNDER_PRESSURE,
        )


def _range(values: Mapping[str, float]) -> str:
    return f"{values['median']:.2f} ({values['least']:.2f} to {values['most']:.2f})"
