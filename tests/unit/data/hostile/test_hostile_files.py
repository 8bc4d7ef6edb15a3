"""Hostile archives and images, read in a process that may write nowhere.

`make test-deep` reads thousands, DSPT_FUZZ_SEED draws others.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import pytest

from dspt.data import decode_image
from dspt.errors import ImageError
from tests.depth import rounds
from tests.hostile import families
from tests.hostile.case import Case, Family, cases
from tests.hostile.images_sound import FORMS
from tests.hostile.reader import Kind, Reader, Reading, reading_in

SEED = int(os.environ.get("DSPT_FUZZ_SEED", "1"))
ARCHIVES, IMAGES = rounds(12, 30), rounds(7, 17)
"""Files of each family; none has more variants than 30."""
COUNTS = {
    "another name": len(FORMS),
    "blank pixels": rounds(1, 2),  # the second takes as long as all others together
    "empty folders": 3,
    "many entries": 10,
    "ratio bomb": 14,
    "BMP in runs": 8,
}
"""Of other families: one that must be read in each format, and large files, of which the later ones
differ from the first in nothing but their size."""
DAMAGES = {
    name: families.IMAGES[name]
    for name in (
        *("truncated", "bits flipped", "header overwritten", "extreme numbers"),
        "parts repeated or gone",
    )
}
"""Families of which each format has four files."""
MIB = 1 << 20

MAX_GROWTH_BYTES = 1152 * MIB
"""64 million pixels of 16 bytes, the most that is decoded at once, are 977 MiB; beside them a file
of 64 MiB, twice, and a little for all else."""
MAX_CPU_SECONDS = 15.0
"""A thousand million pixels of blank images, after which they are refused, take three to ten."""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is measured with /proc"
)

LARGE = (6, 3, 0)[: rounds(1, 3)]
"""A PNG of 16 bits, which takes the most memory, a grey JPEG, and a PNG of a bit."""

Found = list[tuple[Case, Reading]]


def pixels_packed(rng: random.Random, n: int) -> bytes:
    """As the family, but few of the ten formats with as many pixels as the limit."""
    return families.IMAGES["pixels packed"](rng, n if n in LARGE else n + 10)


OTHERS = {
    name: family
    for name, family in (families.IMAGES | {"pixels packed": pixels_packed}).items()
    if name not in DAMAGES
}


def drawn(families: Mapping[str, Family], each: int) -> Iterator[Case]:
    """`each` files of every family."""
    for name, family in families.items():
        yield from cases({name: family}, SEED, COUNTS.get(name, each))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reader, Path]]:
    """A reader, and the folder that contains its own."""
    parent = tmp_path_factory.mktemp("hostile")
    with reading_in(parent / "reader") as reader:
        yield reader, parent


def read_all(opened: tuple[Reader, Path], kind: Kind, found: Iterator[Case]) -> Found:
    """Each case with what became of it, once it is certain that nothing was written."""
    reader, parent = opened
    readings = [(case, reader.read(kind, case.data)) for case in found]
    written = sorted(p.name for p in (parent / "reader").rglob("*"))
    assert written == ["here", "home", "input", "tmp"]
    assert sorted(p.name for p in parent.iterdir()) == ["reader"]
    return readings


def check(found: Found) -> Counter[str]:
    """What holds for each of them; returns how many ended in which way."""
    broken = [
        f"{case.name}: {reading.said}" for case, reading in found if reading.outcome == "broken"
    ]
    assert broken == []
    assert len({hashlib.sha256(case.data).digest() for case, _ in found}) > 0.94 * len(found)
    for case, reading in found:
        assert reading.cpu_seconds < MAX_CPU_SECONDS, case.name
        assert reading.growth_bytes < MAX_GROWTH_BYTES, case.name
    return Counter(reading.outcome for _, reading in found)


def test_archives(reader: tuple[Reader, Path]) -> None:
    found = read_all(reader, "archive", drawn(families.ARCHIVES, ARCHIVES))
    outcomes = check(found)
    assert outcomes["refused"] > len(found) / 2
    assert outcomes["rejected"] > len(found) / 10
    by_family = {family: Counter[str]() for family in families.ARCHIVES}
    for case, reading in found:
        by_family[case.family][reading.outcome] += 1
    assert by_family["nothing wrong"].keys() == {"harmless"}
    assert {"harmless", "refused"} <= by_family["damaged table"].keys()
    for family in (
        *("absolute path", "NUL in name", "control characters", "duplicate names"),
        *("file and folder", "overlapping, one kernel", "overlapping, quoted"),
        *("truncated", "bomb of many", "no zip at all"),
    ):
        assert by_family[family].keys() == {"refused"}, family
    for family in (
        *("bad checksums", "links and devices", "ratio bomb", "recursive bomb"),
        "unknown methods",  # bzip2 and LZMA are read, and the data is neither
    ):
        assert "harmless" not in by_family[family], family


def test_images(reader: tuple[Reader, Path]) -> None:
    damaged = drawn(DAMAGES, 4 * len(FORMS))
    found = read_all(reader, "image", chain(drawn(OTHERS, IMAGES), damaged))
    outcomes = check(found)
    assert outcomes["refused"] > len(found) / 2
    by_family = {family: Counter[str]() for family in families.IMAGES}
    for case, reading in found:
        by_family[case.family][reading.outcome] += 1
    assert by_family["another name"].keys() == by_family["one pixel"].keys() == {"harmless"}
    for family in ("pixels promised", "something else", "rare packings", "magic and noise"):
        assert by_family[family].keys() == {"refused"}, family


def test_decoders_write_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """Whichever format is damaged, in whichever way; libtiff alone writes complaints to stderr."""
    refused = 0
    for number, form in enumerate(FORMS):
        if form.startswith("tiff"):
            continue
        for name, damage in DAMAGES.items():
            for turn in range(3):
                rng = random.Random(f"{SEED}/{form}/{name}/{turn}")
                data = damage(rng, number + turn * len(FORMS))
                try:
                    decode_image(data, max_pixels=4_000_000)
                except ImageError:
                    refused += 1
    assert refused > 100
    assert capfd.readouterr() == ("", "")
